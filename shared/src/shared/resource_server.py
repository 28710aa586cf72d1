"""The kit for a service outside the fleet that accepts the fleet's access tokens: docs/resource-server.md uses it.

`CurrentUser`, `require_scopes` and `require_any_scope` of shared.identity work behind it as they do in the fleet, and
refusals carry the challenges of RFC 6750 and RFC 9449. It needs no database, no trust file, and of the fleet only the
issuer.
"""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
from fastapi import FastAPI

from shared.background import supervise
from shared.clients import PlainClient
from shared.identity.access_tokens import AccessTokenVerifier
from shared.identity.bound_tokens import BoundTokens
from shared.identity.jwks import Fetch, Jwks
from shared.identity.principal import Principal
from shared.identity.revocations import Revocations
from shared.identity.verified_tokens import VerifiedTokens
from shared.identity.verifier import Verifier
from shared.problems import InvalidToken, ServiceUnavailable
from shared.resources import Resources
from shared.web import errors

ASKED_EVERY_S: Final = 2.0  # the fleet's own promise: an ended token is refused within two seconds
TIMEOUT_S: Final = 3.0
_REMEMBERED: Final = 20_000


class _Tokens(Verifier):
    """Access tokens alone, in the place of the fleet's verifier."""

    def __init__(self, access: AccessTokenVerifier, introspection: "Introspection | None") -> None:
        self._tokens, self._introspection = access, introspection

    @property
    def loaded(self) -> bool:
        return self._tokens.loaded

    async def caller(self, token: str) -> Principal:
        """The person or program that the bearer token is for. Raises InvalidToken, ServiceUnavailable."""
        return await self._checked(token, None)

    async def bound(self, token: str, jkt: str) -> Principal:
        """The same for a token that is bound to the key `jkt`, which a proof has shown."""
        return await self._checked(token, jkt)

    async def _checked(self, token: str, jkt: str | None) -> Principal:
        principal = await self._tokens.verify(token, proven_jkt=jkt)
        if self._introspection is not None:
            await self._introspection.check(token, principal)
        return principal


class Introspection:
    """Asks the issuer whether a token was ended early (RFC 7662); an answer counts for `ASKED_EVERY_S`."""

    def __init__(self, issuer: str, client_id: str, secret: str) -> None:
        self._url = f"{issuer}/oauth2/introspect"
        self._http = httpx2.AsyncClient(auth=(client_id, secret), timeout=TIMEOUT_S)
        self._active: VerifiedTokens[Principal] = VerifiedTokens(_REMEMBERED)

    async def check(self, token: str, principal: Principal) -> None:
        """Raises InvalidToken for a token that has ended, ServiceUnavailable without an answer."""
        if self._active.find(token, None) is not None:
            return
        try:
            reply = await self._http.post(self._url, data={"token": token})
            reply.raise_for_status()
            active = reply.json().get("active")
        except (httpx2.HTTPError, ValueError) as error:
            raise ServiceUnavailable("The token cannot be checked for revocation; try again later.") from error
        if active is not True:
            raise InvalidToken("The token has ended.")
        self._active.add(token, principal, keys=None, ends=time.time() + ASKED_EVERY_S)

    async def close(self) -> None:
        await self._http.aclose()


class ResourceServer:
    """Protects an application by access tokens of `issuer` (the fleet's PUBLIC_URL) for `audience`.

    `audience` is the resource that clients name at the token endpoint (RFC 8707); without one it is the issuer. DPoP
    proofs are for `url`, where clients reach the application, by default the scheme and host of `audience` (RFC 9449);
    with neither, tokens that are bound to a key are refused. With `client`, the id and secret of a confidential
    client, a token that was ended early is refused within two seconds; without, an access token is valid until it
    expires, ten minutes at most. `fetch` brings the key set in tests.
    """

    def __init__(
        self,
        issuer: str,
        *,
        audience: str | None = None,
        url: str | None = None,
        client: tuple[str, str] | None = None,
        fetch: Fetch | None = None,
    ) -> None:
        self._issuer, self._audience = issuer.rstrip("/"), audience
        self._url = url or _origin(audience)
        self._client, self._fetch = client, fetch

    def protect(self, app: FastAPI) -> FastAPI:
        """Give `app` the lifespan in which the keys are followed, and the handlers that answer refusals."""
        errors.install(app)
        app.router.lifespan_context = self.lifespan
        return app

    @asynccontextmanager
    async def lifespan(self, _app: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
        """Follow the issuer's keys: fetched once a minute, kept while the issuer is unavailable.

        An application with a lifespan of its own enters this one in it, and yields its state.
        """
        plain = PlainClient()
        jwks = Jwks(self._fetch or (lambda: plain.json(f"{self._issuer}/oauth2/jwks.json")))
        introspection = Introspection(self._issuer, *self._client) if self._client else None
        access = AccessTokenVerifier(jwks, public_url=self._issuer, audience=self._audience)
        resources = Resources()
        tokens = _Tokens(access, introspection)
        resources.add(tokens, Verifier)
        if self._url is not None:
            resources.add(BoundTokens(self._url, tokens.bound))
        resources.add(Revocations({}))
        try:
            await jwks.refresh()
            async with supervise({"jwks": jwks.run}):
                yield {"resources": resources}
        finally:
            await plain.close()
            if introspection is not None:
                await introspection.close()


def _origin(audience: str | None) -> str | None:
    """The scheme and host of a resource; None for one that is not an http URL."""
    parts = urlsplit(audience or "")
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") and parts.netloc else None
