"""The gateway's admin API, on a port of its own: health in detail, metrics, the settings as they are."""
