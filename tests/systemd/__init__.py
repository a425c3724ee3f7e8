"""Tests of systemd/."""
