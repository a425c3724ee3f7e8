"""Presence room: Realtime sessions, untrusted metadata and the roster; out comes demand."""
