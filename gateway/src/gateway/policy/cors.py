"""Cross-origin requests (WHATWG Fetch, section 3.3): `CORS__ORIGINS` lists the allowed origins.

Routes with `pages: true` get no CORS headers at all: a client sends the browser there and reads nothing itself.
"""

from collections.abc import Iterable
from typing import Final

from gateway.http.exchange import Exchange
from shared.web.cors import EXPOSED_HEADERS

_EXPOSED: Final = ", ".join(EXPOSED_HEADERS).encode()
_MAX_AGE_S: Final = b"600"


class Cors:
    """Adds the CORS headers. `*` among the origins allows any origin, without credentials."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origin.rstrip("/").encode() for origin in origins)
        self._any = b"*" in self._origins
        self._not_allowed = [(b"vary", b"Origin")] if self._origins and not self._any else []

    def headers(self, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        """The response's CORS headers; for an origin that is not allowed only `Vary`, for caches."""
        origin = exchange.head.known.get(b"origin")
        if origin is None or not (self._any or origin in self._origins):
            return self._not_allowed
        if origin not in self._origins:
            return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", _EXPOSED)]
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", _EXPOSED),
            (b"vary", b"Origin"),
        ]


def preflight_headers(exchange: Exchange, allow: str) -> list[tuple[bytes, bytes]]:
    """The additional headers of a preflight's response: the route's methods, and any request header."""
    wanted = next((value for name, value in exchange.head.forwarded if name == b"access-control-request-headers"), b"*")
    return [
        (b"access-control-allow-methods", allow.encode()),
        (b"access-control-allow-headers", wanted),
        (b"access-control-max-age", _MAX_AGE_S),
        (b"vary", b"Access-Control-Request-Headers"),
    ]
