"""Tests of daemon/refresh."""
