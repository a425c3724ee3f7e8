"""Tests of daemon/store."""
