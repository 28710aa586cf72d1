"""Cross-origin requests by configuration (WHATWG Fetch, section 3.3): `CORS__ORIGINS` names who may send them."""

from collections.abc import Iterable
from typing import Final

from gateway.http.exchange import Exchange

_EXPOSED: Final = (
    b"ETag, Location, Link, Retry-After, RateLimit, RateLimit-Policy, X-RateLimit-Limit, X-RateLimit-Remaining, "
    b"X-RateLimit-Reset, X-RateLimit-Tier, X-Request-ID, WWW-Authenticate"
)
_REMEMBER_S: Final = b"600"


class Cors:
    """`*` among the origins lets any origin in, without credentials."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origin.rstrip("/").encode() for origin in origins)
        self._any = b"*" in self._origins
        self._otherwise = [(b"vary", b"Origin")] if self._origins and not self._any else []

    def headers(self, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        """What an answer to this request carries; where its origin is not let in, only that it might have been."""
        origin = exchange.head.read.get(b"origin")
        if origin is None or not (self._any or origin in self._origins):
            return self._otherwise
        if origin not in self._origins:
            return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", _EXPOSED)]
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", _EXPOSED),
            (b"vary", b"Origin"),
        ]


def preflight_headers(exchange: Exchange, allow: str) -> list[tuple[bytes, bytes]]:
    """What a preflight is told beside the headers above: the route's methods, and any header."""
    wanted = next((value for name, value in exchange.head.forwarded if name == b"access-control-request-headers"), b"*")
    return [
        (b"access-control-allow-methods", allow.encode()),
        (b"access-control-allow-headers", wanted),
        (b"access-control-max-age", _REMEMBER_S),
        (b"vary", b"Access-Control-Request-Headers"),
    ]
