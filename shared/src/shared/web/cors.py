"""Cross-origin requests to a service: which pages may call it, and which response headers they may read."""

from collections.abc import Sequence
from typing import Final

from fastapi.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

EXPOSED_HEADERS: Final = (
    "Accept-Ranges",
    "Allow",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Range",
    "Deprecation",
    "DPoP-Nonce",
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
"""Besides those that pages always see (WHATWG Fetch, section 3.3.2).

They are named one by one, because `*` has no effect with credentials.
"""


class Cors(CORSMiddleware):
    """CORS for every path but `pages` and what is below them.

    A browser is sent to a page, and no script of another origin may read it (RFC 9700, section 2.6).
    """

    def __init__(self, app: ASGIApp, *, origins: Sequence[str], pages: Sequence[str]) -> None:
        super().__init__(app, allow_origins=origins, allow_methods=["*"], expose_headers=EXPOSED_HEADERS)
        self._pages = frozenset(pages)
        self._below_pages = tuple(f"{page}/" for page in pages)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if path in self._pages or path.startswith(self._below_pages):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)
