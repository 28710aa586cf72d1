"""Who sends a request: the token or ticket it carries, and the token that the service behind is given instead."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from gateway.http.exchange import Exchange
from gateway.routes.matching import Match
from gateway.routes.model import Access
from shared.clients import ServiceClient
from shared.identity import Principal
from shared.identity.access_tokens import AccessTokenVerifier
from shared.identity.revocations import Revocations
from shared.identity.tokens import INTERNAL_TTL_S, Signer
from shared.problems import InsufficientScope, InvalidToken, ServiceUnavailable, Unauthenticated

_REMEMBERED: Final = 20_000
_SPARE_S: Final = 15  # an internal token is reused until it has this long to live: the service still has to read it


class InternalTokens:
    """The gateway's word for each person and service, signed once and used while it is fresh."""

    def __init__(self, signer: Signer, clock: Callable[[], float] = time.time) -> None:
        self._signer, self._clock = signer, clock
        self._signed: OrderedDict[tuple[str, str], tuple[float, bytes]] = OrderedDict()

    def header(self, principal: Principal, upstream: str) -> bytes:
        """The `Authorization` by which `upstream` serves the person."""
        key = (principal.token_id, upstream)
        now = self._clock()
        known = self._signed.get(key)
        if known is not None and now < known[0]:
            return known[1]
        header = b"Bearer " + self._signer.sign_for(principal, upstream).encode()
        self._signed[key] = (min(now + INTERNAL_TTL_S, principal.expires_at) - _SPARE_S, header)
        if len(self._signed) > _REMEMBERED:
            self._signed.popitem(last=False)
        return header


class Identity:
    """Tells who sends a request, by a token in memory, a signature or a ticket; nobody without one of them."""

    def __init__(self, verifier: AccessTokenVerifier, revocations: Revocations, auth: ServiceClient) -> None:
        self._verifier, self._revocations, self._auth = verifier, revocations, auth
        self._loaded = False

    async def of(self, exchange: Exchange, route: Match, access: Access) -> Principal:
        """The person, whose token counts now. Raises Unauthenticated, InvalidToken, or ServiceUnavailable."""
        if not self._loaded:
            self._look_whether_loaded()
        principal = await self._shown(exchange, route)
        self._revocations.admit(principal, fresh=access.fresh)
        return principal

    def _look_whether_loaded(self) -> None:
        """Nobody's token counts before the keys and the revocations are known, and none is called wrong either."""
        if not (self._verifier.loaded and self._revocations.loaded):
            raise ServiceUnavailable("Whose tokens count is not known yet.")
        self._loaded = True

    async def _shown(self, exchange: Exchange, route: Match) -> Principal:
        written = exchange.head.read.get(b"authorization")
        if written is not None:
            return await self._by_token(bearer(written))
        if exchange.bearer is not None:
            return await self._by_token(exchange.bearer)
        if exchange.ticket is not None and by_ticket(exchange, route):
            return await self._redeem(exchange.ticket, exchange.path)
        raise Unauthenticated

    async def _by_token(self, token: str) -> Principal:
        return self._verifier.verify_now(token) or await self._verifier.verify(token)

    async def _redeem(self, ticket: str, path: str) -> Principal:
        """Whom the ticket for `path` stands for, as auth-service knows. Raises InvalidToken or ServiceUnavailable."""
        reply = await self._auth.call("POST", "/internal/tickets/redeem", json={"ticket": ticket, "path": path})
        if reply.status_code != 200:
            raise InvalidToken("The ticket is wrong, spent or expired.")
        return Principal.from_claims(reply.json()["claims"])


def by_ticket(exchange: Exchange, route: Match) -> bool:
    """Whether a ticket is all that the exchange shows, where one counts."""
    return (
        exchange.ticket is not None
        and route.tickets
        and exchange.method == "GET"
        and exchange.bearer is None
        and b"authorization" not in exchange.head.read
    )


def bearer(authorization: bytes) -> str:
    """The token of an Authorization header (RFC 6750, section 2.1). Raises Unauthenticated for another scheme."""
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != b"bearer":
        raise Unauthenticated("Authorization takes a bearer token here.")
    return token.strip().decode("latin-1")


def check_scopes(principal: Principal, access: Access) -> None:
    """Raises InsufficientScope where the person's token lacks what the method asks for."""
    if not access.all_of <= principal.scopes:
        raise InsufficientScope(scopes=sorted(access.all_of))
    if access.any_of and access.any_of.isdisjoint(principal.scopes):
        wanted = sorted(access.any_of)
        raise InsufficientScope(f"This needs one of the scopes {', '.join(wanted)}.", scopes=wanted)
