"""HTTP: what a monitoring system reads. Knows no other room: it is handed what it shows."""
