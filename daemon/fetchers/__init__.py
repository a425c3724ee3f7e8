"""Fetchers room: one module per data type, and the one HTTP client to the upstream."""
