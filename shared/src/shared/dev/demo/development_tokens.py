"""Tokens of the development issuer: for trying a service by hand. Only a development's trust file takes them."""

import time
from collections.abc import Iterable, Mapping
from typing import Final
from uuid import UUID, uuid5

from shared.dev.identity import DEVELOPMENT_ISSUER, load_keys
from shared.dev.launcher.data_folder import DataFolder
from shared.identity.access_tokens import TYP
from shared.identity.principal import Principal
from shared.identity.scopes import scopes_of
from shared.identity.tokens import sign
from shared.ids import new_id

TTL_S: Final = 8 * 3600  # a working day
SANDBOX: Final = "sandbox"
"""The slug of the tenant of a service that runs alone; the demo tenant's slug stays free for the main job."""
_NAMES: Final = UUID("0a0f5c0e-54d6-4a4e-8a8e-1f7d0c6b2f10")


def user_id(username: str, known: Mapping[str, str] | None = None) -> UUID:
    """The id of the person: theirs if `known`, else one made of the name, always the same."""
    return UUID(known[username]) if known and username in known else uuid5(_NAMES, f"user {username}")


def tenant_id(slug: str, known: Mapping[str, str] | None = None) -> UUID:
    """The same for a tenant."""
    return UUID(known[slug]) if known and slug in known else uuid5(_NAMES, f"tenant {slug}")


def development_token(
    folder: DataFolder,
    public_url: str,
    username: str,
    *,
    tenant: str = "demo",
    roles: Iterable[str] = ("admin",),
    known: Mapping[str, str] | None = None,
) -> str:
    """An access token for `username` in the tenant with the slug `tenant`, without a session.

    `known` has the ids of people and tenants that exist; any other name has the same made-up id each time.
    """
    folder.make()
    key = load_keys(folder.keys, [DEVELOPMENT_ISSUER])[DEVELOPMENT_ISSUER]
    now = int(time.time())
    principal = Principal(
        user_id=user_id(username, known),
        username=username,
        tenant_id=tenant_id(tenant, known),
        tenant_slug=tenant,
        roles=frozenset(roles),
        scopes=scopes_of(roles),
        tier="enterprise",
        session_id=None,
        client_id="flotilla",
        token_id=str(new_id()),
        user_epoch=0,
        expires_at=now + TTL_S,
        issuer=DEVELOPMENT_ISSUER,
    )
    frame = {"iss": DEVELOPMENT_ISSUER, "aud": public_url, "iat": now, "exp": now + TTL_S}
    return sign({**principal.to_claims(), **frame}, key, typ=TYP)
