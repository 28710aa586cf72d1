"""The order of the policies: identity, tenant, limit, impersonation, scopes. The first that refuses decides."""

from structlog.contextvars import bound_contextvars

from gateway.http.exchange import Exchange
from gateway.policy.api_keys import HEADER, ApiKeyNotAllowed, key_of
from gateway.policy.identity import Identity, by_ticket, check_scopes
from gateway.policy.limits import LIMITED, Tiers, limit_headers, refusal
from gateway.policy.tenant import TenantRule
from gateway.routes.matching import Match
from gateway.routes.model import Access
from shared.identity import Principal
from shared.identity.principal import check_not_impersonated
from shared.limits import Bucket, Decision, Limiter
from shared.problems import Unauthenticated
from shared.telemetry.traces import within


class Admission:
    """Decides whether an exchange may be forwarded, and stores its principal and limit headers in the exchange."""

    def __init__(self, identity: Identity, tenants: TenantRule, tiers: Tiers, limiter: Limiter) -> None:
        self._identity, self._tenants, self._tiers, self._limiter = identity, tenants, tiers, limiter

    async def admit(self, exchange: Exchange, route: Match, access: Access) -> None:
        """Admit the exchange. Raises the Problem that refuses it."""
        if access.public:
            await self._count(exchange, access, self._tiers.of_address(exchange.address))
            return
        principal = exchange.principal = await self._identify(exchange, route, access)
        self._tenants.check(exchange, principal)
        await self._count(exchange, access, self._tiers.of(principal))
        if route.no_impersonation:
            check_not_impersonated(principal)
        check_scopes(principal, access)

    async def _identify(self, exchange: Exchange, route: Match, access: Access) -> Principal:
        """The exchange's principal; an exchange that fails authentication counts against its address."""
        if by_ticket(exchange, route):
            return await self._redeem(exchange, route, access)
        if (shown := exchange.head.known.get(HEADER)) is not None:
            return await self._by_key(exchange, route, access, key_of(shown))
        try:
            return await self._identity.authenticate(exchange, route, access)
        except Unauthenticated:
            await self._count(exchange, access, self._tiers.of_address(exchange.address))
            raise

    async def _by_key(self, exchange: Exchange, route: Match, access: Access, key: str) -> Principal:
        """The principal of an API key; one that is not remembered counts like a ticket until it proves right."""
        if not route.api_keys:
            await self._count(exchange, access, self._tiers.of_address(exchange.address))
            raise ApiKeyNotAllowed
        keys = self._identity.api_keys
        if keys.find(key) is not None:
            return await self._identity.authenticate(exchange, route, access)
        async with keys.turn(key):
            if keys.find(key) is not None:
                return await self._identity.authenticate(exchange, route, access)
            return await self._redeem(exchange, route, access)

    async def _redeem(self, exchange: Exchange, route: Match, access: Access) -> Principal:
        """The principal of a ticket or an API key.

        Guesses count against the address before auth-service is called, exempt or not.
        """
        address = self._tiers.of_address(exchange.address)
        guess = await self._take(address)
        if not guess.allowed:
            exchange.added_headers += limit_headers(guess)
            raise refusal(guess)
        wrong = False
        try:
            with bound_contextvars(request_id=exchange.request_id), within(exchange.traceparent):
                return await self._identity.authenticate(exchange, route, access)
        except Unauthenticated:
            wrong = True
            exchange.added_headers += limit_headers(guess)
            raise
        finally:
            if not wrong:
                await self._limiter.take(address, cost=-1)

    async def _count(self, exchange: Exchange, access: Access, bucket: Bucket) -> None:
        """Take one request out of the caller's bucket. Raises TooManyRequests if it is empty."""
        if access.exempt:
            return
        decision = await self._take(bucket)
        exchange.added_headers += limit_headers(decision)
        if not decision.allowed:
            raise refusal(decision)

    async def _take(self, bucket: Bucket) -> Decision:
        decision = await self._limiter.take(bucket)
        if not decision.allowed:
            LIMITED.labels(decision.bucket.limit.name).inc()
        return decision
