"""Refresh room: what is due and when."""
