"""What is settled about a request as it arrives: its id and trace, its address, and that it can be read in one way."""

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
_HOST: Final = re.compile(rb"([A-Za-z0-9._\-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")  # no more: `Forwarded` repeats it
_WRITTEN: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?|([0-9A-Fa-f:.]+)")  # some add ports
_AMBIGUOUS_PATH: Final = re.compile(
    rb"//"
    rb"|/\.{1,2}(?:/|;|$)"
    rb"|[\x00-\x20\x7f-\xff\\]"
    rb"|%(?:[01][0-9a-fA-F]|2[eEfF]|5[cC]|7[fF])"
    rb"|%25[0-9a-fA-F]{2}"
    rb"|%(?![0-9a-fA-F]{2})"
)
_VERSIONS: Final = ("1.1", "1.0")
_ONCE: Final = frozenset({b"content-length", b"authorization", b"x-tenant-id"})

Networks = Sequence[IPv4Network | IPv6Network]


class Arrival:
    """Stamps exchanges. `trusted` are the networks whose word about the client's address counts."""

    def __init__(self, trusted: Networks, sample_ratio: float) -> None:
        self._trusted = tuple(trusted)
        self._sample_ratio = sample_ratio

    def stamp(self, exchange: Exchange) -> None:
        """Give the exchange its request id, its trace and its client's address."""
        read = exchange.head.read
        request_id = read.get(b"x-request-id")
        named = request_id is not None and _REQUEST_ID.fullmatch(request_id) is not None
        exchange.request_id = request_id.decode() if named and request_id is not None else str(new_id())
        parent = read.get(b"traceparent")
        continued = parent is not None and _TRACEPARENT.fullmatch(parent) is not None
        exchange.traceparent = parent.decode() if continued and parent is not None else self._new_trace()
        if continued and b"tracestate" in read:  # it belongs to the trace that it came with
            exchange.head.forwarded.append((b"tracestate", read[b"tracestate"]))
        client = exchange.scope.get("client")
        exchange.address = client[0] if client else "unknown"
        if self._trusted and is_trusted(exchange.address, self._trusted):
            exchange.address = _told_address(read.get(b"x-forwarded-for", b""), self._trusted) or exchange.address

    def _new_trace(self) -> str:
        ids = os.urandom(24).hex()
        sampled = random() < self._sample_ratio  # noqa: S311 - which traces are kept is no secret
        return f"00-{ids[:32]}-{ids[32:]}-{'01' if sampled else '00'}"


def check_readable(exchange: Exchange) -> None:
    """Raises MalformedRequest where two servers could read the request differently."""
    head, version = exchange.head, exchange.scope.get("http_version")
    if version not in _VERSIONS:
        raise MalformedRequest("HTTP/1.1 is spoken here.")
    coding = head.read.get(b"transfer-encoding")
    if coding is not None and (coding.lower() != b"chunked" or version == "1.0"):
        raise MalformedRequest("The body's transfer coding can be chunked, and that in HTTP/1.1 only.")
    if head.hosts != 1 and (head.hosts or version != "1.0"):
        raise MalformedRequest("The request needs exactly one Host header.")
    if head.hosts and _HOST.fullmatch(head.read[b"host"]) is None:
        raise MalformedRequest("The Host header names no host.")
    if not head.repeated.isdisjoint(_ONCE):
        raise MalformedRequest("A header that may stand once stands twice.")
    if is_ambiguous(exchange.raw_path, exchange.path):
        raise MalformedRequest("The path has segments that can be read in two ways.")


def is_ambiguous(raw_path: bytes, path: str) -> bool:
    """Whether another server could read `raw_path` as a different path; `path` is the same, decoded once.

    The gateway decides on the decoded path and forwards the raw one; the two may not disagree about where a segment
    begins or ends. So whatever one server might decode, merge or resolve differently from another is refused: encoded
    slashes, backslashes and dots, dot segments, empty segments, control characters, and an escape inside an escape.
    """
    return _AMBIGUOUS_PATH.search(raw_path) is not None or "\ufffd" in path


@lru_cache(maxsize=4096)
def is_trusted(address: str, trusted: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    """Whether a load balancer of ours has this address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed.version == network.version and parsed in network for network in trusted)


def _told_address(forwarded_for: bytes, trusted: tuple[IPv4Network | IPv6Network, ...]) -> str | None:
    """The last address that none of our own load balancers added: whatever stands before it anybody could write."""
    for written in reversed(forwarded_for.decode("latin-1").split(",")):
        found = _WRITTEN.fullmatch(written.strip())
        address = found[found.lastindex or 0] if found is not None else ""
        try:
            ip_address(address)
        except ValueError:
            return None
        if not is_trusted(address, trusted):
            return address
    return None
