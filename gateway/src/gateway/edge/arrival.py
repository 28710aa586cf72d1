"""What is decided when a request arrives: its id, trace and client address, and that it is unambiguous."""

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from random import random
from typing import Final

from gateway.http.exchange import Exchange
from shared.ids import new_id
from shared.problems import MalformedRequest

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._\-]{1,128}")
_TRACEPARENT: Final = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")  # W3C Trace Context
_HOST: Final = re.compile(rb"([A-Za-z0-9._\-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")  # strict: `Forwarded` repeats it
_ADDRESS: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?|([0-9A-Fa-f:.]+)")  # some add ports
_AMBIGUOUS_PATH: Final = re.compile(
    rb"//"
    rb"|/\.{1,2}(?:/|;|$)"
    rb"|[\x00-\x20\x7f-\xff\\]"
    rb"|%(?:[01][0-9a-fA-F]|2[eEfF]|5[cC]|7[fF])"
    rb"|%25[0-9a-fA-F]{2}"
    rb"|%(?![0-9a-fA-F]{2})"
)
_VERSIONS: Final = ("1.1", "1.0")
_SINGLE: Final = frozenset({b"content-length", b"authorization", b"x-tenant-id", b"x-api-key"})

Networks = Sequence[IPv4Network | IPv6Network]


class Arrival:
    """Stamps exchanges. `X-Forwarded-For` is believed from the `trusted` networks only."""

    def __init__(self, trusted: Networks, sample_ratio: float) -> None:
        self._trusted = tuple(trusted)
        self._sample_ratio = sample_ratio

    def stamp(self, exchange: Exchange) -> None:
        """Give the exchange its request id, its trace and its client's address."""
        known = exchange.head.known
        request_id = known.get(b"x-request-id")
        named = request_id is not None and _REQUEST_ID.fullmatch(request_id) is not None
        exchange.request_id = request_id.decode() if named and request_id is not None else str(new_id())
        parent = known.get(b"traceparent")
        continued = parent is not None and _TRACEPARENT.fullmatch(parent) is not None
        exchange.traceparent = parent.decode() if continued and parent is not None else self._new_trace()
        if continued and b"tracestate" in known:  # only valid with the `traceparent` of the same request
            exchange.head.forwarded.append((b"tracestate", known[b"tracestate"]))
        client = exchange.scope.get("client")
        exchange.address = client[0] if client else "unknown"
        if self._trusted and is_trusted(exchange.address, self._trusted):
            exchange.address = _forwarded_address(known.get(b"x-forwarded-for", b""), self._trusted) or exchange.address

    def _new_trace(self) -> str:
        ids = os.urandom(24).hex()
        sampled = random() < self._sample_ratio  # noqa: S311 - sampling needs no secure randomness
        return f"00-{ids[:32]}-{ids[32:]}-{'01' if sampled else '00'}"


def check_unambiguous(exchange: Exchange) -> None:
    """Raises MalformedRequest for a request that two servers could read differently."""
    head, version = exchange.head, exchange.scope.get("http_version")
    if version not in _VERSIONS:
        raise MalformedRequest("Only HTTP/1.1 is supported.")
    coding = head.known.get(b"transfer-encoding")
    if coding is not None and (coding.lower() != b"chunked" or version == "1.0"):
        raise MalformedRequest("The only supported transfer coding is chunked, and it requires HTTP/1.1.")
    if head.host_count != 1 and (head.host_count or version != "1.0"):
        raise MalformedRequest("The request needs exactly one Host header.")
    if head.host_count and _HOST.fullmatch(head.known[b"host"]) is None:
        raise MalformedRequest("The Host header is not a valid host name.")
    if not head.repeated.isdisjoint(_SINGLE):
        raise MalformedRequest("A header that may occur only once is repeated.")
    if b"x-api-key" in head.known and (b"authorization" in head.known or exchange.bearer is not None):
        raise MalformedRequest("Send an access token or an API key, not both.")
    if is_ambiguous(exchange.raw_path, exchange.path):
        raise MalformedRequest("The path is ambiguous: it has a dot segment, an empty segment or an unsafe escape.")


def is_ambiguous(raw_path: bytes, path: str) -> bool:
    """Whether another server could read `raw_path` as a different path; `path` is the same, decoded once.

    The gateway decides on the decoded path and forwards the raw one; the two may not disagree about where a segment
    begins or ends. Whatever one server might decode, merge or resolve differently from another is refused: encoded
    slashes, backslashes and dots, dot segments, empty segments, control characters, and an escape inside an escape.
    """
    return _AMBIGUOUS_PATH.search(raw_path) is not None or "\ufffd" in path


@lru_cache(maxsize=4096)
def is_trusted(address: str, trusted: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    """Whether the address belongs to one of our load balancers."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed.version == network.version and parsed in network for network in trusted)


def _forwarded_address(forwarded_for: bytes, trusted: tuple[IPv4Network | IPv6Network, ...]) -> str | None:
    """The last address in `X-Forwarded-For` outside the trusted networks; clients can forge the ones before it."""
    for entry in reversed(forwarded_for.decode("latin-1").split(",")):
        found = _ADDRESS.fullmatch(entry.strip())
        address = found[found.lastindex or 0] if found is not None else ""
        try:
            ip_address(address)
        except ValueError:
            return None
        if not is_trusted(address, trusted):
            return address
    return None
