"""Which headers cross the gateway: one pass over the request's headers, one over the response's.

Hop-by-hop headers are dropped, including those that `Connection` names (RFC 9110, section 7.6.1). So are headers that a
service could mistake for the gateway's: identity, forwarding and trace headers are replaced by the gateway's own, and
names with an underscore are dropped because some servers read `X_User_Id` as `X-User-Id`.
"""

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

_HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

_READ_BY_GATEWAY: Final = frozenset(
    {
        b"authorization",
        b"content-length",
        b"dpop",
        b"expect",
        b"forwarded",
        b"host",
        b"traceparent",
        b"tracestate",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-request-id",
        b"x-tenant-id",
        b"origin",
        b"access-control-request-method",
        b"transfer-encoding",
        b"x-api-key",
    }
)
"""Request headers that the gateway itself reads."""

_DROPPED: Final = (
    _HOP_BY_HOP
    | (_READ_BY_GATEWAY - {b"origin", b"access-control-request-method"})
    | {b"x-deadline", b"x-client-address", b"x-real-ip", b"x-original-url", b"x-rewrite-url", b"x-http-method-override"}
)
_IDENTITY_PREFIXES: Final = (
    b"x-user",
    b"x-tenant",
    b"x-auth",
    b"x-session",
    b"x-role",
    b"x-scope",
    b"x-principal",
    b"x-internal",
    b"x-flotilla",
    b"x-forwarded",
    b"x-remote",
    b"remote-",
    b"sec-websocket-",
)

_SET_BY_GATEWAY: Final = _HOP_BY_HOP | {
    b"date",
    b"server",
    b"x-request-id",
    b"x-content-type-options",
    b"x-frame-options",
    b"referrer-policy",
    b"strict-transport-security",
}
"""Response headers that the gateway sets itself, in addition to the CORS headers."""

_ORDINARY_CONNECTION: Final = frozenset({b"keep-alive", b"close", b"upgrade", b"keep-alive, upgrade"})


class RequestHead:
    """A request's headers, parsed once: `known` are the ones that the gateway reads, `forwarded` the ones that pass."""

    __slots__ = ("forwarded", "host_count", "known", "repeated")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.known: dict[bytes, bytes] = {}
        forwarded: list[tuple[bytes, bytes]] = []
        self.repeated: set[bytes] = set()
        self.host_count = 0
        named: bytes | None = None
        for pair in headers:
            name = pair[0]
            if name in _READ_BY_GATEWAY:
                self._note(name, pair[1])
            elif name == b"connection" and pair[1].lower() not in _ORDINARY_CONNECTION:
                named = pair[1] if named is None else named + b"," + pair[1]
            if name not in _DROPPED and b"_" not in name and not name.startswith(_IDENTITY_PREFIXES):
                forwarded.append(pair)
        self.forwarded = forwarded if named is None else _without(forwarded, named)

    def _note(self, name: bytes, value: bytes) -> None:
        """Keep the value; a repeated header continues the first one's list (RFC 9110, section 5.3)."""
        known = self.known
        if name == b"host":
            self.host_count += 1
        elif name in known:
            self.repeated.add(name)
            value = known[name] + b"," + value
        known[name] = value

    @property
    def has_body(self) -> bool:
        return b"transfer-encoding" in self.known or self.known.get(b"content-length", b"0") != b"0"

    @property
    def content_length(self) -> int | None:
        """The declared size of the body; None without a declaration and for a chunked body."""
        declared = self.known.get(b"content-length")
        return int(declared) if declared is not None and b"transfer-encoding" not in self.known else None


def response_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """An upstream response's headers that pass to the client, in their order and with their duplicates."""
    kept = []
    named: bytes | None = None
    for name, value in headers:
        lower = name.lower()
        if lower == b"connection" and value.lower() not in _ORDINARY_CONNECTION:
            named = value if named is None else named + b"," + value
        if lower not in _SET_BY_GATEWAY and not lower.startswith(b"access-control-"):
            kept.append((lower, value))
    return kept if named is None else _without(kept, named)


def _without(headers: list[tuple[bytes, bytes]], named: bytes) -> list[tuple[bytes, bytes]]:
    """`headers` without those that a Connection header names; it may not name the ones that frame the body."""
    names = {name.strip().lower() for name in named.split(b",")} - {b"content-length", b"content-type", b"host"}
    return [pair for pair in headers if pair[0] not in names]
