"""Where each tenant's content is; the mechanism is in shared/data/placement."""
