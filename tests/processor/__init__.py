"""Tests of daemon/processor."""
