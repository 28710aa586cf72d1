"""The worker: claims jobs under a lease, runs their kinds, and writes nothing once the lease is lost."""
