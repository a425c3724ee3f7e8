"""A stand-in for what refreshd replaces: jobs of pg_cron that have functions at the edge fetch each data type."""
