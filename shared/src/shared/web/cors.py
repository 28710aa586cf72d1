"""Which response headers a page of another origin may read (WHATWG Fetch, section 3.3.2)."""

from typing import Final

EXPOSED_HEADERS: Final = (
    "Accept-Ranges",
    "Allow",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Range",
    "Deprecation",
    "ETag",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Sunset",
    "Traceparent",
    "Vary",
    "WWW-Authenticate",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-RateLimit-Tier",
    "X-Request-ID",
)
"""Besides those that pages always see. They are named one by one, because `*` has no effect with credentials."""
