"""The tokens of a session: the access token's claims, and the pair that a sign-in or a refresh returns."""

import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from uuid import UUID

from auth_service.accounts.models import Account
from auth_service.keyring import Keyring
from auth_service.memberships.models import OPERATOR, TenantMembership
from auth_service.memberships.service import is_fresh
from auth_service.scopes.service import granted
from auth_service.sessions.models import CLIENT_ID, Session
from auth_service.sessions.refresh_tokens import RefreshToken, csrf_token
from auth_service.signing_keys.active_key import ActiveKey
from shared.identity import Principal, Revocations
from shared.identity.access_tokens import ACCESS_TTL_S, sign_access_token
from shared.identity.authentication import acr_of
from shared.ids import new_id


@dataclass(frozen=True, slots=True)
class Tokens:
    """The answer to a sign-in or a refresh, before it becomes a body or a cookie."""

    access_token: str
    refresh_token: str
    csrf_token: str
    scope: str
    session_id: UUID
    remembered: bool
    expires_in: int
    """Seconds until the access token ends."""


@dataclass(frozen=True)
class TokenMaker:
    """Signs for this process."""

    active_key: ActiveKey
    keyring: Keyring
    public_url: str

    def make(
        self,
        account: Account,
        session: Session,
        member: TenantMembership,
        *,
        narrowed_to: frozenset[str] | None = None,
        proven_jkt: str | None = None,
    ) -> Tokens:
        """Both tokens for the session as it is now; the access token with no other scopes than `narrowed_to`.

        The access token is bound to the key `proven_jkt`, by default to the session's. That of an impersonation lasts
        as long as the session.

        Raises ServiceUnavailable before keys are loaded.
        """
        now = int(time.time())
        limited_to: Collection[str] | None = session.limited_to
        if narrowed_to is not None:
            limited_to = narrowed_to if limited_to is None else narrowed_to.intersection(limited_to)
        expires_at = now + ACCESS_TTL_S
        if session.impersonator_id is not None:
            expires_at = int(session.impersonated_until.timestamp())
        who = of_session(account, session, member, self.public_url, limited_to, expires_at=expires_at)
        if proven_jkt is not None:
            who = replace(who, dpop_jkt=proven_jkt)
        claims = who.to_claims()
        access_token = sign_access_token(
            claims,
            self.active_key.key,
            issuer=self.public_url,
            audience=session.audience or self.public_url,
            now=now,
            act=claims.get("act"),
        )
        return Tokens(
            access_token=access_token,
            refresh_token=RefreshToken(session.id, session.generation).encode(self.keyring),
            csrf_token=csrf_token(session.id, self.keyring),
            scope=" ".join(sorted(who.scopes)),
            session_id=session.id,
            remembered=session.remembered,
            expires_in=expires_at - now,
        )


def is_current(member: TenantMembership | None, account: Account, revocations: Revocations, public_url: str) -> bool:
    """Whether a token may be signed from the projection, without asking users-service.

    It is active and fresh, and users-service's feed, which may be ahead of its events, would not end that token.
    """
    if member is None or not member.active or not is_fresh(member):
        return False
    ended = revocations.ended(principal(account, None, member, public_url, expires_at=int(time.time())))
    return ended is None or ended.reason not in ("membership", "tenant")


def of_session(
    account: Account,
    session: Session,
    member: TenantMembership,
    public_url: str,
    limited_to: Collection[str] | None,
    *,
    expires_at: int,
) -> Principal:
    """The person as the session's tokens describe them, also when and how they last proved who they are.

    An impersonation proves nothing about the person: its tokens name the operator instead. A session that is confined
    to its tenant has none of the operators' scopes, which reach beyond it.
    """
    impersonated = session.impersonator_id is not None
    roles = frozenset(member.membership.roles) - ({OPERATOR} if session.confined else set())
    return replace(
        principal(account, session.id, member, public_url, limited_to, expires_at=expires_at),
        roles=roles,
        scopes=granted(roles, limited_to, to_client=session.client_id != CLIENT_ID),
        client_id=session.client_id,
        dpop_jkt=session.dpop_jkt,
        auth_time=None if impersonated else int(session.auth_time.timestamp()),
        amr=frozenset(session.amr),
        acr=None if impersonated else acr_of(session.amr),
        impersonator=session.impersonator_id,
    )


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
