"""The refreshd command, one module per group of commands."""
