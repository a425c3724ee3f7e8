"""A development Realtime server: a small, faithful subset of Supabase Realtime for tests and the demo."""
