"""The limits of this fleet as data, and the headers and problems that report them."""

import math
import time
from typing import Final

from prometheus_client import Counter

from shared.identity import Principal
from shared.identity.api_keys import CLIENT_ID
from shared.limits import Bucket, Decision, Limit, client_network
from shared.problems import TooManyRequests

PER_HOUR: Final = {"free": 100, "premium": 1_000, "enterprise": 10_000}
"""Requests an hour and person, by the tenant's tier."""

LIMITED = Counter("flotilla_gateway_limited_total", "Requests refused because the limit was used up.", ["tier"])


class Tiers:
    """The limit of each tier and that of an address without a sign-in, all multiplied by `scale`."""

    def __init__(self, scale: int, anonymous: int) -> None:
        self._tiers = {name: Limit(name, requests * scale) for name, requests in PER_HOUR.items()}
        self._anonymous = Limit("anonymous", anonymous * scale)

    def of(self, principal: Principal) -> Bucket:
        """The bucket of a person in a tenant, or of their API keys. A tier that this release does not know is free.

        A person's keys share one: a program does not use up the person's own, and more keys do not raise the limit.
        """
        limit = self._tiers.get(principal.tier or "free", self._tiers["free"])
        kind = "keys" if principal.client_id == CLIENT_ID else "person"
        return Bucket(f"{kind}:{principal.tenant_id}:{principal.user_id}", limit)

    def of_address(self, address: str) -> Bucket:
        """The bucket of requests without a sign-in."""
        return Bucket(f"address:{client_network(address)}", self._anonymous)


def limit_headers(decision: Decision) -> list[tuple[bytes, bytes]]:
    """`RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers), and the older `X-RateLimit-*`."""
    limit, remaining = decision.bucket.limit, decision.remaining
    tier = limit.name.encode()
    return [
        (b"ratelimit-policy", b'"%s";q=%d;w=%d' % (tier, limit.quota, limit.window_s)),
        (b"ratelimit", b'"%s";r=%d;t=%d' % (tier, remaining, decision.reset_s)),
        (b"x-ratelimit-limit", b"%d" % limit.quota),
        (b"x-ratelimit-remaining", b"%d" % remaining),
        (b"x-ratelimit-reset", b"%d" % math.ceil(time.time() + decision.full_in_us / 1_000_000)),
        (b"x-ratelimit-tier", tier),
    ]


def refusal(decision: Decision) -> TooManyRequests:
    """The problem for a caller whose bucket is empty."""
    limit = decision.bucket.limit
    return TooManyRequests(
        f"{limit.quota} requests in {limit.window_s} s are used up ({limit.name}).",
        retry_after_s=decision.retry_after_s,
    )
