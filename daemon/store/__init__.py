"""Store room: the only door to PostgreSQL, one module per subject."""
