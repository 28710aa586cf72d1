"""Token exchange (RFC 8693): a resource server calls an API for the person whose token it was sent."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from auth_service.authorization.request import audience, is_allowed_resource
from auth_service.clients.models import Client
from auth_service.oauth_errors import OAuthError
from auth_service.oauth_tokens.access_tokens import AccessTokens
from auth_service.oauth_tokens.schemas import ACCESS_TOKEN_TYPE, OAuthTokensOut
from auth_service.sessions import service as sessions
from auth_service.settings import AuthSettings
from auth_service.signing_keys.active_key import ActiveKey
from shared.data.database import Database
from shared.identity import Principal, Revocations
from shared.identity.access_tokens import ACCESS_TTL_S, sign_access_token
from shared.ids import new_id

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_UNSUPPORTED: Final = ("actor_token", "actor_token_type")


@dataclass(frozen=True)
class TokenExchange:
    database: Database
    tokens: AccessTokens
    revocations: Revocations
    active_key: ActiveKey
    settings: AuthSettings
    dpop_jkt: str | None
    """The thumbprint of the key that the token is bound to (RFC 9449)."""

    async def exchange(self, client: Client, form: Mapping[str, str]) -> OAuthTokensOut:
        """A token for the subject, by which the client acts (`act`). It ends with the subject's own. Raises OAuthError.

        A client may exchange a token that was issued to it, or whose audience is one of its resources.
        """
        claims, subject = await self._subject(client, form)
        scopes = _scopes(client, subject, form)
        now = int(time.time())
        expires_at = min(now + ACCESS_TTL_S, subject.expires_at)
        who = replace(
            subject,
            scopes=scopes,
            client_id=str(client.id),
            token_id=str(new_id()),
            expires_at=expires_at,
            actor=None,
            dpop_jkt=self.dpop_jkt,
        )
        access_token = sign_access_token(
            who.to_claims(),
            self.active_key.key,
            issuer=self.settings.public_url,
            audience=self._audience(client, form),
            now=now,
            act={"sub": str(client.id), **({"act": claims["act"]} if "act" in claims else {})},
        )
        return OAuthTokensOut(
            access_token=access_token,
            token_type="Bearer" if self.dpop_jkt is None else "DPoP",
            expires_in=expires_at - now,
            scope=" ".join(sorted(scopes)),
            issued_token_type=ACCESS_TOKEN_TYPE,
        )

    async def _subject(self, client: Client, form: Mapping[str, str]) -> tuple[dict[str, Any], Principal]:
        """The claims of the subject's token, which is valid now. Raises OAuthError (RFC 8693, section 2.2.2)."""
        if not client.confidential:
            raise OAuthError("unauthorized_client", "Only a client that authenticates may exchange tokens.")
        if form.get("subject_token_type") != ACCESS_TOKEN_TYPE:
            raise OAuthError("invalid_request", f"subject_token_type must be {ACCESS_TOKEN_TYPE}.")
        if form.get("requested_token_type", ACCESS_TOKEN_TYPE) != ACCESS_TOKEN_TYPE:
            raise OAuthError("invalid_request", f"requested_token_type must be {ACCESS_TOKEN_TYPE}.")
        if any(name in form for name in _UNSUPPORTED):
            raise OAuthError("invalid_request", "The actor is the client itself; omit actor_token.")
        known = await self.tokens.verified(form.get("subject_token", ""))
        async with self.database.transaction() as db:
            live = known is not None and await sessions.is_live(db, known.user)
        if known is None or not live or self.revocations.ended(known.user) is not None:
            raise OAuthError("invalid_request", "The subject_token is not valid.")
        claims, subject = known.claims, known.user
        if client.tenant_id is not None and client.tenant_id != subject.tenant_id:
            raise OAuthError("invalid_request", "The subject_token is not valid.")
        if subject.client_id != str(client.id) and claims["aud"] not in client.resources:
            raise OAuthError("invalid_request", "The subject_token was issued neither to the client nor for it.")
        if subject.impersonator is not None:
            raise OAuthError("invalid_request", "A token by which an operator impersonates a person is not exchanged.")
        if subject.dpop_jkt is not None:
            raise OAuthError("invalid_request", "A token that is bound to a key is not exchanged.")
        return claims, subject

    def _audience(self, client: Client, form: Mapping[str, str]) -> str:
        named = form.get("resource", form.get("audience", self.settings.public_url))
        if not is_allowed_resource(client, named, self.settings.public_url):
            raise OAuthError("invalid_target", "The client's tokens cannot be for this resource.")
        return audience(named, self.settings.public_url) or self.settings.public_url


def _scopes(client: Client, subject: Principal, form: Mapping[str, str]) -> frozenset[str]:
    """What is asked for, of the subject's scopes and the client's. Raises OAuthError."""
    allowed = subject.scopes.intersection(client.scopes)
    scopes = allowed.intersection(form["scope"].split()) if "scope" in form else allowed
    if not scopes:
        raise OAuthError("invalid_scope", "None of the scopes is the subject's and the client's.")
    return scopes
