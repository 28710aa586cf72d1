"""What upstream issuers publish about themselves: their endpoints and keys (OpenID Connect Discovery 1.0)."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from shared.identity.jwks import Jwks
from shared.outbound import Outbound, OutboundError

ALGORITHMS: Final = frozenset({"ES256", "RS256", "EdDSA"})
"""What ID tokens may be signed by: what both sides know asymmetric keys for. Never `none`, never a shared secret."""

FRESH_S: Final = 600.0
_MOST_ISSUERS: Final = 500
_MOST_URL: Final = 500


class UpstreamFailed(Exception):
    """An issuer did not answer, or not as the protocol says; the text may be shown to an admin."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """An issuer's endpoints, and how it is spoken to."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str | None
    algorithms: frozenset[str]
    secret_in_body: bool
    sends_iss: bool
    """Whether its authorization responses name it (RFC 9207), so that one without `iss` is another issuer's."""


@dataclass(frozen=True, slots=True)
class Issuer:
    metadata: Metadata
    keys: Jwks
    read_at: float


class Issuers:
    """The issuers that this process has read, each for ten minutes."""

    def __init__(self, outbound: Outbound, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._outbound, self._clock = outbound, clock
        self._known: dict[str, Issuer] = {}

    async def find(self, issuer: str, *, fresh: bool = False) -> Issuer:
        """The issuer, as it was read at most ten minutes ago; `fresh`: now. Raises UpstreamFailed."""
        known = self._known.get(issuer)
        if known is not None and not fresh and self._clock() - known.read_at < FRESH_S:
            return known
        metadata, jwks_uri = self._read(issuer, await self._fetch(discovery_url(issuer)))
        keys = Jwks(lambda: self._fetch_keys(jwks_uri))
        if not await keys.refresh():
            raise UpstreamFailed("The issuer's keys (jwks_uri) cannot be read.")
        self._known.pop(issuer, None)
        while len(self._known) >= _MOST_ISSUERS:
            del self._known[next(iter(self._known))]
        self._known[issuer] = Issuer(metadata, keys, self._clock())
        return self._known[issuer]

    async def _fetch(self, url: str) -> Mapping[str, Any]:
        try:
            return await self._outbound.json(url)
        except OutboundError as error:
            raise UpstreamFailed(f"The discovery document cannot be read. {error}") from None

    async def _fetch_keys(self, url: str) -> Mapping[str, Any]:
        try:
            return await self._outbound.json(url)
        except OutboundError as error:
            raise ValueError(str(error)) from None

    def _read(self, issuer: str, document: Mapping[str, Any]) -> tuple[Metadata, str]:
        """The metadata, and where the keys are. Raises UpstreamFailed for a document that is not this issuer's."""
        if document.get("issuer") != issuer:
            raise UpstreamFailed("The discovery document names another issuer.")
        if "code" not in _texts(document, "response_types_supported", ["code"]):
            raise UpstreamFailed("The issuer does not support the authorization code flow.")
        if "S256" not in _texts(document, "code_challenge_methods_supported", ["S256"]):
            raise UpstreamFailed("The issuer does not support PKCE with S256.")
        algorithms = ALGORITHMS.intersection(_texts(document, "id_token_signing_alg_values_supported", ["RS256"]))
        if not algorithms:
            raise UpstreamFailed(f"The issuer signs ID tokens with none of {', '.join(sorted(ALGORITHMS))}.")
        methods = _texts(document, "token_endpoint_auth_methods_supported", ["client_secret_basic"])
        metadata = Metadata(
            issuer=issuer,
            authorization_endpoint=self._endpoint(document, "authorization_endpoint"),
            token_endpoint=self._endpoint(document, "token_endpoint"),
            userinfo_endpoint=self._endpoint(document, "userinfo_endpoint")
            if "userinfo_endpoint" in document
            else None,
            algorithms=algorithms,
            secret_in_body="client_secret_basic" not in methods and "client_secret_post" in methods,
            sends_iss=document.get("authorization_response_iss_parameter_supported") is True,
        )
        return metadata, self._endpoint(document, "jwks_uri")

    def _endpoint(self, document: Mapping[str, Any], name: str) -> str:
        url = document.get(name)
        try:
            if isinstance(url, str) and len(url) <= _MOST_URL:
                self._outbound.checked(url)
                return url
        except OutboundError:
            pass
        raise UpstreamFailed(f"The issuer's {name} is not an https URL.")


def discovery_url(issuer: str) -> str:
    """Where the issuer's metadata is. Raises UpstreamFailed for what is not an issuer's URL."""
    parts = urlsplit(issuer)
    if parts.query or parts.fragment or "?" in issuer or "#" in issuer:
        raise UpstreamFailed("An issuer is a URL without query and fragment.")
    return f"{issuer.rstrip('/')}/.well-known/openid-configuration"


def _texts(document: Mapping[str, Any], name: str, default: list[str]) -> list[str]:
    value = document.get(name, default)
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
