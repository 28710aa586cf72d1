"""ID tokens (OpenID Connect Core 1.0, section 2): RS256, for the client, about one sign-in."""

import base64
import hashlib
import time
from typing import Any, Final

from auth_service.accounts.models import Account
from auth_service.clients.models import Client
from auth_service.sessions.models import Session
from auth_service.signing_keys.active_key import ActiveKey
from shared.identity.authentication import acr_of
from shared.identity.tokens import sign

ID_TOKEN_TTL_S: Final = 600


def id_token(
    client: Client,
    account: Account,
    session: Session,
    scopes: frozenset[str],
    active_key: ActiveKey,
    public_url: str,
    *,
    access_token: str,
    nonce: str | None = None,
) -> str:
    """The ID token of a client's session. Raises ServiceUnavailable before keys are loaded."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": public_url,
        "aud": str(client.id),
        "iat": now,
        "exp": now + ID_TOKEN_TTL_S,
        "auth_time": int(session.auth_time.timestamp()),
        "amr": sorted(session.amr),
        "acr": acr_of(session.amr),
        "sid": str(session.opened_by or session.id),
        "at_hash": _half_hash(access_token),
        **person_claims(account, scopes),
    }
    if nonce is not None:
        claims["nonce"] = nonce
    return sign(claims, active_key.id_token_key, typ="JWT")


def person_claims(account: Account, scopes: frozenset[str]) -> dict[str, Any]:
    """What the scopes reveal about the person (OpenID Connect Core 1.0, section 5.4)."""
    claims: dict[str, Any] = {"sub": str(account.id)}
    if "profile" in scopes:
        claims["preferred_username"] = account.username
    if "email" in scopes and account.email is not None:
        claims |= {"email": account.email, "email_verified": True}
    return claims


def _half_hash(token: str) -> str:
    """The left half of SHA-256, because the ID token is signed by RS256 (section 3.1.3.6)."""
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()[:16]).decode().rstrip("=")
