"""Who has which limit, as data, and what answers say about it."""

import math
import time
from ipaddress import IPv6Address, ip_address
from typing import Final

from gateway.policy.limits.bucket import Decision, Limit
from shared.identity import Principal
from shared.problems import TooManyRequests

PER_HOUR: Final = {"free": 100, "premium": 1_000, "enterprise": 10_000}
"""Requests an hour and person, by the tenant's tier."""


class Tiers:
    """The limits of this fleet: the tiers' multiplied by `scale`, and that of an address nobody signed in from."""

    def __init__(self, scale: int, anonymous: int) -> None:
        self._tiers = {name: Limit(name, requests * scale) for name, requests in PER_HOUR.items()}
        self._anonymous = Limit("anonymous", anonymous * scale)

    def of(self, principal: Principal) -> tuple[str, Limit]:
        """The bucket and the limit of a person in a tenant; a tier that this release does not know counts as free."""
        return f"person:{principal.tenant_id}:{principal.user_id}", self._tiers.get(
            principal.tier or "free", self._tiers["free"]
        )

    def of_address(self, address: str) -> tuple[str, Limit]:
        """The bucket and the limit of who is not signed in."""
        return f"address:{network_of(address)}", self._anonymous


def network_of(address: str) -> str:
    """The address itself, or for IPv6 its /64: one household has one, with more addresses than we have buckets."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return parsed.ipv4_mapped.compressed if parsed.ipv4_mapped else f"{parsed.exploded[:19]}::/64"
    return address


def limit_headers(decision: Decision) -> list[tuple[bytes, bytes]]:
    """`RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers), and the older `X-RateLimit-*`."""
    limit = decision.limit
    left = max(0, decision.left)
    seconds = -(-decision.full_in_us // 1_000_000)
    tier = limit.tier.encode()
    return [
        (b"ratelimit-policy", b'"%s";q=%d;w=%d' % (tier, limit.requests, limit.per_s)),
        (b"ratelimit", b'"%s";r=%d;t=%d' % (tier, left, seconds)),
        (b"x-ratelimit-limit", b"%d" % limit.requests),
        (b"x-ratelimit-remaining", b"%d" % left),
        (b"x-ratelimit-reset", b"%d" % math.ceil(time.time() + decision.full_in_us / 1_000_000)),
        (b"x-ratelimit-tier", tier),
    ]


def refusal(decision: Decision) -> TooManyRequests:
    """What a caller is told whose bucket is empty."""
    wait_s = -(-decision.wait_us // 1_000_000)
    limit = decision.limit
    return TooManyRequests(
        f"{limit.requests} requests in {limit.per_s} s are used up ({limit.tier}).", retry_after_s=max(1, wait_s)
    )
