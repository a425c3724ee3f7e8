"""Benchmarks on the daemon's own code. Results are written to bench/results."""
