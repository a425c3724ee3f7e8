"""The development stack: PostgreSQL, Realtime server, simulated upstream, demo. Never imported by daemon."""
