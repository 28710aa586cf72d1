"""The gateway's admin API on a separate port: detailed health, metrics, effective settings."""
