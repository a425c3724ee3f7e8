"""Health room: how everything stands, judged and told: to systemd, to monitoring, to a dead man's switch."""
