"""Tests of the fetchers room: decoding, statuses, addresses, and the client against real sockets."""
