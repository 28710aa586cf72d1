"""Which headers cross the gateway: one pass over a request's, one over an answer's.

Hop-by-hop headers end here, those that `Connection` names among them (RFC 9110, section 7.6.1). So does whatever a
service could take for the gateway's own word: identity, forwarding and trace headers are written anew, and a name with
an underscore is dropped altogether, because some servers read `X_User_Id` as `X-User-Id`.
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

_READ_HERE: Final = frozenset(
    {
        b"authorization",
        b"content-length",
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
    }
)
"""Request headers that the gateway itself reads."""

_DROPPED: Final = (
    _HOP_BY_HOP
    | (_READ_HERE - {b"origin", b"access-control-request-method"})
    | {b"x-real-ip", b"x-original-url", b"x-rewrite-url", b"x-http-method-override"}
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

_ANSWERED_HERE: Final = _HOP_BY_HOP | {
    b"date",
    b"server",
    b"x-request-id",
    b"x-content-type-options",
    b"x-frame-options",
    b"referrer-policy",
    b"strict-transport-security",
}
"""Answer headers that the gateway writes itself, beside the CORS ones."""

_ORDINARY_CONNECTION: Final = frozenset({b"keep-alive", b"close", b"upgrade", b"keep-alive, upgrade"})


class RequestHead:
    """A request's headers, read once: what the gateway needs by name, and what goes on as it came."""

    __slots__ = ("forwarded", "hosts", "read", "repeated")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        read: dict[bytes, bytes] = {}
        forwarded: list[tuple[bytes, bytes]] = []
        self.repeated: set[bytes] = set()
        self.hosts = 0
        named: bytes | None = None
        for pair in headers:
            name = pair[0]
            if name in _READ_HERE:
                self._note(read, name, pair[1])
            elif name == b"connection" and pair[1].lower() not in _ORDINARY_CONNECTION:
                named = pair[1] if named is None else named + b"," + pair[1]
            if name not in _DROPPED and b"_" not in name and not name.startswith(_IDENTITY_PREFIXES):
                forwarded.append(pair)
        self.read = read
        self.forwarded = forwarded if named is None else _without(forwarded, named)

    def _note(self, read: dict[bytes, bytes], name: bytes, value: bytes) -> None:
        """Keep the value; a second line goes on with the first one's list (RFC 9110, section 5.3)."""
        if name == b"host":
            self.hosts += 1
        elif name in read:
            self.repeated.add(name)
            value = read[name] + b"," + value
        read[name] = value

    @property
    def has_body(self) -> bool:
        return b"transfer-encoding" in self.read or self.read.get(b"content-length", b"0") != b"0"

    @property
    def content_length(self) -> int | None:
        """What the body's size is said to be; None for a chunked body."""
        written = self.read.get(b"content-length")
        return int(written) if written is not None and b"transfer-encoding" not in self.read else None


def answer_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """An upstream answer's headers without those that end here; order and duplicates kept."""
    kept = []
    named: bytes | None = None
    for name, value in headers:
        lower = name.lower()
        if lower == b"connection" and value.lower() not in _ORDINARY_CONNECTION:
            named = value if named is None else named + b"," + value
        if lower not in _ANSWERED_HERE and not lower.startswith(b"access-control-"):
            kept.append((lower, value))
    return kept if named is None else _without(kept, named)


def _without(headers: list[tuple[bytes, bytes]], named: bytes) -> list[tuple[bytes, bytes]]:
    """`headers` without those that a Connection header names; what frames the body is not its to name."""
    names = {name.strip().lower() for name in named.split(b",")} - {b"content-length", b"content-type", b"host"}
    return [pair for pair in headers if pair[0] not in names]
