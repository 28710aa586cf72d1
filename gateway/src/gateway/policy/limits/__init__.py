"""Rate limits, exact over all gateways: a bucket per caller, kept in the cache by one script over one connection."""
