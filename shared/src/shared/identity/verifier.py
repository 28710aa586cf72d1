"""The one door for tokens at a service: internal ones by the trust file, people's own only where they are accepted."""

from shared.identity.access_tokens import TYP, AccessTokenVerifier
from shared.identity.principal import Principal, ServiceCaller
from shared.identity.tokens import InternalVerifier, read_header
from shared.problems import InvalidToken


class Verifier:
    """Verifies the caller of this service.

    `access` is given only where a raw access token is taken: nowhere behind a gateway, in development by
    `IDENTITY__ACCEPT_ACCESS_TOKENS`. The token's `typ` picks the road; each road believes only keys of its own, so
    a token that claims the wrong type finds no key there.
    """

    def __init__(self, internal: InternalVerifier, access: AccessTokenVerifier | None = None) -> None:
        self._internal, self._access = internal, access

    @property
    def loaded(self) -> bool:
        """Whether every key that tokens are verified with is there; part of being ready."""
        return self._access is None or self._access.loaded

    async def caller(self, token: str) -> Principal | ServiceCaller:
        """The person, or the service that speaks for itself. Raises InvalidToken."""
        if (known := self._internal.remembered(token)) is not None:
            return known
        header = read_header(token)
        if header.typ != TYP:
            return self._internal.verify(token, header)
        if self._access is None:
            raise InvalidToken("Access tokens are not accepted here; send the request through the gateway.")
        return await self._access.verify(token)

    def client_address(self, token: str) -> str | None:
        """The client's address from ADDRESS_HEADER, or None where the gateway did not sign it for now and here."""
        try:
            return self._internal.client_address(token)
        except InvalidToken:
            return None

    async def verify(self, token: str) -> Principal:
        """The person whom the token identifies. Raises InvalidToken, also for a service's own token."""
        caller = await self.caller(token)
        if isinstance(caller, ServiceCaller):
            raise InvalidToken("The token identifies a service; this operation requires a person.")
        return caller
