"""The order in which a request is judged: identity, tenant, limit, scopes. The first that says no is the answer."""

from gateway.exchange import Exchange
from gateway.policy.identity import Identity, check_scopes
from gateway.policy.limits.bucket import Limit
from gateway.policy.limits.limiter import Limiter
from gateway.policy.limits.tiers import Tiers, limit_headers, refusal
from gateway.policy.tenant import TenantRule
from gateway.routes.matching import Match
from gateway.routes.model import Access
from shared.problems import Unauthenticated


class Admission:
    """Decides whether an exchange may be forwarded; what it finds out is noted in the exchange."""

    def __init__(self, identity: Identity, tenants: TenantRule, tiers: Tiers, limiter: Limiter) -> None:
        self._identity, self._tenants, self._tiers, self._limiter = identity, tenants, tiers, limiter

    async def admit(self, exchange: Exchange, route: Match, access: Access) -> None:
        """Let the exchange pass. Raises the Problem that refuses it."""
        if access.public:
            await self._count(exchange, access, *self._tiers.of_address(exchange.address))
            return
        try:
            principal = exchange.principal = await self._identity.of(exchange, route, access)
        except Unauthenticated:
            await self._count(exchange, access, *self._tiers.of_address(exchange.address))
            raise
        self._tenants.check(exchange, principal)
        await self._count(exchange, access, *self._tiers.of(principal))
        check_scopes(principal, access)

    async def _count(self, exchange: Exchange, access: Access, key: str, limit: Limit) -> None:
        """Take one request out of the caller's bucket. Raises TooManyRequests where it is empty."""
        if access.exempt:
            return
        decision = await self._limiter.take(key, limit)
        exchange.extra += limit_headers(decision)
        if not decision.admitted:
            raise refusal(decision)
