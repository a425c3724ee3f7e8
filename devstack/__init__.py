"""The development stack: embedded PostgreSQL, Realtime server, simulated upstream, the demo. Never imported by daemon."""
