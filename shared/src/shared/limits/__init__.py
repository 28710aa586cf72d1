"""Rate limits: exact over all replicas while the cache answers, each replica's own buckets while it does not."""

from shared.limits.buckets import Bucket, Decision, Limit, LocalBuckets, client_network
from shared.limits.connection import CacheError, CacheUnavailable, PipelinedConnection
from shared.limits.limiter import Limiter, SharedBuckets

__all__ = [
    "Bucket",
    "CacheError",
    "CacheUnavailable",
    "Decision",
    "Limit",
    "Limiter",
    "LocalBuckets",
    "PipelinedConnection",
    "SharedBuckets",
    "client_network",
]
