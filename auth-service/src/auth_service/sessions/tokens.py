"""The tokens of a session: the access token's claims, and the pair that a sign-in or a refresh returns."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from auth_service.accounts.models import Account
from auth_service.keyring import Keyring
from auth_service.memberships.models import TenantMembership
from auth_service.memberships.service import is_fresh
from auth_service.scopes.service import granted
from auth_service.sessions.models import Session
from auth_service.sessions.refresh_tokens import RefreshToken, csrf_token
from auth_service.signing_keys.active_key import ActiveKey
from shared.identity import Principal, Revocations
from shared.identity.access_tokens import ACCESS_TTL_S, sign_access_token
from shared.ids import new_id

CLIENT_ID: Final = "flotilla"  # our own sign-in; clients of the OAuth server have ids of their own


@dataclass(frozen=True, slots=True)
class Tokens:
    """The answer to a sign-in or a refresh, before it becomes a body or a cookie."""

    access_token: str
    refresh_token: str
    csrf_token: str
    scope: str
    session_id: UUID


@dataclass(frozen=True)
class TokenMaker:
    """Signs for this process."""

    active_key: ActiveKey
    keyring: Keyring
    public_url: str

    def make(self, account: Account, session: Session, member: TenantMembership) -> Tokens:
        """Both tokens for the session as it is now. Raises ServiceUnavailable before keys are loaded."""
        now = int(time.time())
        expires_at = now + ACCESS_TTL_S
        who = principal(account, session.id, member, self.public_url, session.limited_to, expires_at=expires_at)
        access_token = sign_access_token(
            who.to_claims(), self.active_key.key, issuer=self.public_url, public_url=self.public_url, now=now
        )
        return Tokens(
            access_token=access_token,
            refresh_token=RefreshToken(session.id, session.generation).encode(self.keyring),
            csrf_token=csrf_token(session.id, self.keyring),
            scope=" ".join(sorted(who.scopes)),
            session_id=session.id,
        )


def is_current(member: TenantMembership | None, account: Account, revocations: Revocations, public_url: str) -> bool:
    """Whether a token may be signed from the projection, without asking users-service.

    It is active and fresh, and users-service's feed, which may be ahead of its events, would not end that token.
    """
    if member is None or not member.active or not is_fresh(member):
        return False
    ended = revocations.ended(principal(account, None, member, public_url, expires_at=int(time.time())))
    return ended is None or ended.reason not in ("membership", "tenant")


def principal(
    account: Account,
    session_id: UUID | None,
    member: TenantMembership,
    public_url: str,
    limited_to: Collection[str] | None = None,
    *,
    expires_at: int,
) -> Principal:
    """The person in their tenant, with the scopes that their roles grant there now, of those the session may have."""
    roles = frozenset(member.membership.roles)
    return Principal(
        user_id=account.id,
        username=account.username,
        tenant_id=member.tenant.id,
        tenant_slug=member.tenant.slug,
        roles=roles,
        scopes=granted(roles, limited_to),
        tier=member.tenant.tier,
        session_id=session_id,
        client_id=CLIENT_ID,
        token_id=str(new_id()),
        user_epoch=account.epoch,
        membership_version=member.membership.version,
        tenant_version=member.tenant.version,
        expires_at=expires_at,
        issuer=public_url,
    )
