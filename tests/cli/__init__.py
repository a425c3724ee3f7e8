"""Tests of daemon/cli."""
