"""Authentication: verifies a request's token, proof, ticket or API key; signs the internal token that replaces it."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from pydantic import BaseModel

from gateway.http.exchange import Exchange
from gateway.policy.api_keys import HEADER, ApiKeys, key_of
from gateway.policy.proofs import FleetUsedProofs, proof_of
from gateway.routes.matching import Match
from gateway.routes.model import Access
from shared.clients import ServiceClient, UnexpectedAnswer
from shared.identity import Principal
from shared.identity.access_tokens import AccessTokenVerifier
from shared.identity.dpop import by_dpop, challenge
from shared.identity.revocations import Revocations
from shared.identity.tokens import INTERNAL_TTL_S, Signer
from shared.problems import InsufficientScope, InvalidToken, Problem, ServiceUnavailable, Unauthenticated

_CHALLENGES: Final = f'Bearer realm="flotilla", {challenge()}'
_CACHED_TOKENS: Final = 20_000
_MIN_REMAINING_S: Final = 15  # a cached token with less time left is signed again: the service must still accept it


class InternalTokens:
    """Signs a short-lived token for each person and service, and reuses it while it is fresh."""

    def __init__(self, signer: Signer, clock: Callable[[], float] = time.time) -> None:
        self._signer, self._clock = signer, clock
        self._signed: OrderedDict[tuple[str, str], tuple[float, bytes]] = OrderedDict()

    def header(self, principal: Principal, upstream: str) -> bytes:
        """The `Authorization` header that authenticates the person at `upstream`."""
        key = (principal.token_id, upstream)
        now = self._clock()
        cached = self._signed.get(key)
        if cached is not None and now < cached[0]:
            return cached[1]
        header = b"Bearer " + self._signer.forward(principal, upstream).encode()
        self._signed[key] = (min(now + INTERNAL_TTL_S, principal.expires_at) - _MIN_REMAINING_S, header)
        if len(self._signed) > _CACHED_TOKENS:
            self._signed.popitem(last=False)
        return header


class ClientAddresses:
    """Signs the address of each client for each service, and reuses the signature while it is fresh."""

    def __init__(self, signer: Signer, clock: Callable[[], float] = time.time) -> None:
        self._signer, self._clock = signer, clock
        self._signed: OrderedDict[tuple[str, str], tuple[float, bytes]] = OrderedDict()

    def header(self, address: str, upstream: str) -> bytes:
        """The value of `X-Client-Address` for a request of the client at `address` to `upstream`."""
        key = (address, upstream)
        now = self._clock()
        cached = self._signed.get(key)
        if cached is not None and now < cached[0]:
            return cached[1]
        value = self._signer.sign_address(address, upstream).encode()
        self._signed[key] = (now + INTERNAL_TTL_S - _MIN_REMAINING_S, value)
        if len(self._signed) > _CACHED_TOKENS:
            self._signed.popitem(last=False)
        return value


class _Ticket(BaseModel):
    ticket: str
    path: str


class _Redeemed(BaseModel):
    claims: dict[str, Any]


class Identity:
    """Authenticates requests by an access token (cached or verified by signature), a ticket or an API key.

    A token that is bound to a key is sent by the scheme `DPoP` with a proof for the request, whose origin is `origin`.
    """

    def __init__(
        self,
        verifier: AccessTokenVerifier,
        revocations: Revocations,
        auth: ServiceClient,
        used_proofs: FleetUsedProofs,
        origin: Callable[[Exchange], str],
    ) -> None:
        self._verifier, self._revocations, self._auth = verifier, revocations, auth
        self.api_keys = ApiKeys(revocations, auth)
        self._used_proofs, self._origin = used_proofs, origin
        self._loaded = False

    async def authenticate(self, exchange: Exchange, route: Match, access: Access) -> Principal:
        """The principal, whose token is valid now. Raises Unauthenticated, InvalidToken or ServiceUnavailable."""
        if not self._loaded:
            self._require_loaded()
        bound = dpop_token(exchange)
        if bound is not None:
            return await self._by_proof(exchange, bound, access)
        principal = await self._principal(exchange, route)
        self._revocations.admit(principal, fresh=access.fresh)
        return principal

    def _require_loaded(self) -> None:
        """Refuse with 503, not 401, while keys or revocations are not loaded: the token may be valid."""
        if not (self._verifier.loaded and self._revocations.loaded):
            raise ServiceUnavailable("The gateway is still loading its verification keys and revocations.")
        self._loaded = True

    async def _principal(self, exchange: Exchange, route: Match) -> Principal:
        authorization = exchange.head.known.get(b"authorization")
        if authorization is not None:
            return await self._by_token(bearer(authorization))
        if exchange.bearer is not None:
            return await self._by_token(exchange.bearer)
        shown = exchange.head.known.get(HEADER)
        if shown is not None:
            key = key_of(shown)
            return self.api_keys.find(key) or await self.api_keys.redeem(key)
        if exchange.ticket is not None and by_ticket(exchange, route):
            return await self._redeem(exchange.ticket, exchange.path)
        raise Unauthenticated(challenge=_CHALLENGES)

    async def _by_proof(self, exchange: Exchange, token: str, access: Access) -> Principal:
        """The principal of a bound token, whose key has signed this request. Raises InvalidDpopProof, InvalidToken."""
        url = f"{self._origin(exchange)}{exchange.raw_path.decode('latin-1')}"
        proof = proof_of(exchange.head.known.get(b"dpop"), method=exchange.method, url=url, access_token=token)
        principal = self._verifier.verify_now(token, proven_jkt=proof.jkt)
        principal = principal or await self._verifier.verify(token, proven_jkt=proof.jkt)
        self._revocations.admit(principal, fresh=access.fresh)
        await self._used_proofs.use(proof)
        return principal

    async def _by_token(self, token: str) -> Principal:
        return self._verifier.verify_now(token) or await self._verifier.verify(token)

    async def _redeem(self, ticket: str, path: str) -> Principal:
        """Redeem a ticket for `path` at auth-service. Raises InvalidToken or ServiceUnavailable."""
        body = _Ticket(ticket=ticket, path=path)
        try:
            redeemed = await self._auth.send("POST", "/internal/tickets/redeem", body, _Redeemed)
        except UnexpectedAnswer as answer:
            if answer.received_code not in ("invalid_token", "invalid_input"):
                raise
            raise InvalidToken("The ticket is invalid, already used or expired.") from answer
        return Principal.from_claims(redeemed.claims)


def by_ticket(exchange: Exchange, route: Match) -> bool:
    """Whether the exchange authenticates by ticket: on a route that takes them, and without a token or key."""
    return (
        exchange.ticket is not None
        and route.tickets
        and exchange.method == "GET"
        and exchange.bearer is None
        and b"authorization" not in exchange.head.known
        and HEADER not in exchange.head.known
    )


def client_credentials(exchange: Exchange, route: Match) -> bytes | None:
    """The header by which an OAuth client authenticates, on a route that takes it: HTTP Basic and nothing else."""
    authorization = exchange.head.known.get(b"authorization")
    if not route.client_credentials or authorization is None:
        return None
    return authorization if authorization[:6].lower() == b"basic " else None


def forward_proof(exchange: Exchange, route: Match) -> None:
    """Send the service the proof of an OAuth client that asks for tokens; no other route passes it on."""
    proof = exchange.head.known.get(b"dpop")
    if route.client_credentials and proof is not None:
        exchange.head.forwarded.append((b"dpop", proof))


def dpop_token(exchange: Exchange) -> str | None:
    """The token of an Authorization header with the scheme DPoP (RFC 9449, section 7.1); None for another one."""
    authorization = exchange.head.known.get(b"authorization", b"")
    return authorization[5:].strip().decode("latin-1") if authorization[:5].lower() == b"dpop " else None


def name_scheme(exchange: Exchange, problem: Problem) -> None:
    """Let the challenge to a request that used DPoP name that scheme (RFC 9449, section 7.1)."""
    if "WWW-Authenticate" in problem.headers and dpop_token(exchange) is not None:
        problem.headers["WWW-Authenticate"] = by_dpop(problem.headers["WWW-Authenticate"])


def bearer(authorization: bytes) -> str:
    """The token of an Authorization header (RFC 6750, section 2.1). Raises Unauthenticated for another scheme."""
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != b"bearer":
        raise Unauthenticated("Authorization must be a bearer token, or one by DPoP.", challenge=_CHALLENGES)
    return token.strip().decode("latin-1")


def check_scopes(principal: Principal, access: Access) -> None:
    """Raises InsufficientScope if the principal's token lacks the scopes that the method requires."""
    if not access.all_of <= principal.scopes:
        raise InsufficientScope(scopes=sorted(access.all_of))
    if access.any_of and access.any_of.isdisjoint(principal.scopes):
        wanted = sorted(access.any_of)
        raise InsufficientScope(f"One of these scopes is required: {', '.join(wanted)}.", scopes=wanted)
