"""Making, listing and revoking API keys, and finding the person behind one."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

from sqlalchemy import ColumnElement, LargeBinary, Select, bindparam, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import ACTIVE, Account, lock_account
from auth_service.api_keys.models import ApiKey
from auth_service.audit import service as audit
from auth_service.memberships import models as memberships
from auth_service.memberships.models import Membership, Tenant, TenantMembership
from auth_service.revocations import service as revocations
from auth_service.sessions.service import SESSION_ENDED
from auth_service.sessions.tokens import principal
from shared.data.database import Database
from shared.data.prepared import Columns, Prepared
from shared.field_errors import FieldRule
from shared.identity import Principal
from shared.identity.api_keys import CLIENT_ID, generate
from shared.identity.principal import tenant_of
from shared.problems import Conflict, InvalidInput, InvalidToken, NotFound
from shared.web.paging import ListQuery, by_cursor

MAX_KEYS: Final = 50
"""Keys of a person in a tenant."""

EXPIRED_KEPT_D: Final = 30
_NEVER_OF_A_KEY: Final = frozenset({"api-keys:read", "api-keys:write"})

NOT_GRANTED: Final = FieldRule("not_granted", "Must be scopes of the caller's token; a key cannot manage API keys.")
NOT_FUTURE: Final = FieldRule("not_future", "Must be a time in the future.")

EndReason: TypeAlias = Literal["revoked_by_owner", "membership_ended", "account_deactivated", "account_erased"]


class ApiKeyLimitReached(Conflict):
    """The person has as many API keys in this tenant as one may have."""

    status, title = 409, "Too many API keys"
    remedy = f"Revoke one that is no longer used: a person has at most {MAX_KEYS} in a tenant."


class ApiKeyNotFound(NotFound):
    """The caller has no API key with this id in this tenant."""

    status, title = 404, "No such API key"


async def make(
    db: AsyncSession,
    user: Principal,
    *,
    name: str,
    scopes: Collection[str],
    expires_at: datetime | None,
    address: str,
) -> tuple[ApiKey, str]:
    """A new key of the person in their tenant, and its text, which is stored nowhere.

    Raises InvalidInput for scopes that the caller does not have and for a time that has passed; ApiKeyLimitReached.
    """
    tenant_id, wanted = tenant_of(user), frozenset(scopes)
    if not wanted <= grantable(user):
        raise InvalidInput(errors=[NOT_GRANTED.at("#/scopes")])
    now: datetime = (await db.execute(select(func.now()))).scalar_one()
    if expires_at is not None and expires_at <= now:
        raise InvalidInput(errors=[NOT_FUTURE.at("#/expires_at")])
    account = await lock_account(db, user.user_id)  # the limit is exact, and it stays active
    if account is None or account.status != ACTIVE:
        raise InvalidToken(SESSION_ENDED)
    theirs = (ApiKey.account_id == user.user_id, ApiKey.tenant_id == tenant_id)
    if (await db.scalar(select(func.count()).where(*theirs)) or 0) >= MAX_KEYS:
        raise ApiKeyLimitReached
    made = generate()
    key = ApiKey(
        digest=digest(made.key),
        prefix=made.prefix,
        name=name,
        account_id=user.user_id,
        tenant_id=tenant_id,
        scopes=sorted(wanted),
        expires_at=expires_at,
    )
    db.add(key)
    await db.flush()
    _record(db, "api_key_created", key, address=address, session_id=user.session_id, scopes=key.scopes)
    return key, made.key


def grantable(user: Principal) -> frozenset[str]:
    """The scopes that the person may give to a key."""
    return user.scopes - _NEVER_OF_A_KEY


async def own(db: AsyncSession, user: Principal, key_id: UUID) -> ApiKey:
    """A key of the person in their tenant. Raises ApiKeyNotFound."""
    key = await db.scalar(select(ApiKey).where(*_own(user, key_id)))
    if key is None:
        raise ApiKeyNotFound
    return key


async def page(db: AsyncSession, user: Principal, query: ListQuery) -> tuple[Sequence[ApiKey], str | None]:
    """The person's keys in their tenant, expired ones too, and the cursor of the next page; None at the end."""
    rows = select(ApiKey).where(ApiKey.account_id == user.user_id, ApiKey.tenant_id == tenant_of(user))
    return await by_cursor(db, rows, query, {"created_at": ApiKey.created_at}, ApiKey.id, within=user.user_id)


async def revoke(db: AsyncSession, user: Principal, key_id: UUID, address: str) -> None:
    """Revoke a key of the person in their tenant; every gateway knows within two seconds. Raises ApiKeyNotFound."""
    key = await db.scalar(delete(ApiKey).where(*_own(user, key_id)).returning(ApiKey))
    if key is None:
        raise ApiKeyNotFound
    await revocations.end_session(db, key.id)
    _record(db, "api_key_revoked", key, address=address, session_id=user.session_id, reason="revoked_by_owner")


def _own(user: Principal, key_id: UUID) -> tuple[ColumnElement[bool], ...]:
    return (ApiKey.id == key_id, ApiKey.account_id == user.user_id, ApiKey.tenant_id == tenant_of(user))


async def revoke_in_tenant(db: AsyncSession, user_id: UUID, tenant_id: UUID) -> None:
    """Revoke the keys of a person whose membership has ended; they stay revoked even if the person returns.

    Who uses one now is ended by users-service's feed, which has the reason.
    """
    theirs = (ApiKey.account_id == user_id, ApiKey.tenant_id == tenant_id)
    for key in (await db.scalars(delete(ApiKey).where(*theirs).returning(ApiKey))).all():
        _record(db, "api_key_revoked", key, address=None, reason="membership_ended")


async def revoke_all(db: AsyncSession, user_id: UUID, reason: EndReason, address: str | None) -> None:
    """Revoke the person's keys in all their tenants; every gateway knows within two seconds."""
    for key in (await db.scalars(delete(ApiKey).where(ApiKey.account_id == user_id).returning(ApiKey))).all():
        await revocations.end_session(db, key.id)
        _record(db, "api_key_revoked", key, address=address, reason=reason)


async def prune(db: AsyncSession) -> None:
    """Delete the keys that expired a month ago, and those of tenants that were erased."""
    old = ApiKey.expires_at < func.now() - timedelta(days=EXPIRED_KEPT_D)
    await db.execute(delete(ApiKey).where(or_(old, ~exists().where(Tenant.id == ApiKey.tenant_id))))


@dataclass(frozen=True, slots=True)
class Holder:
    """A valid key with its person's account and membership."""

    key: ApiKey
    account: Account
    member: TenantMembership

    def principal(self, public_url: str, expires_at: int) -> Principal:
        """The person, with the key's scopes of those that their roles grant now."""
        limit = expires_at if self.key.expires_at is None else min(expires_at, int(self.key.expires_at.timestamp()))
        who = principal(self.account, self.key.id, self.member, public_url, self.key.scopes, expires_at=limit)
        return replace(who, client_id=CLIENT_ID)


async def find_holder(database: Database, key: str) -> Holder | None:
    """Who comes by the key, by one statement, which also notes its use once a minute.

    None if the key is unknown, revoked or expired, and while the account, the membership or the tenant is not active.
    The row is found by the hash of the whole key, so how long that takes reveals nothing.
    """
    row = await database.first(_HOLDER, role="fleet", digest=digest(key))
    if row is None:
        return None
    member = TenantMembership(_MEMBERSHIP.read(row), _TENANT.read(row), None)
    return Holder(_KEY.read(row), _ACCOUNT.read(row), member)


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


_KEY: Final = Columns(ApiKey)
_ACCOUNT: Final = Columns(Account, _KEY.end)
_MEMBERSHIP: Final = Columns(Membership, _ACCOUNT.end)
_TENANT: Final = Columns(Tenant, _MEMBERSHIP.end)


def _holder() -> Select[Any]:
    shown = ApiKey.digest == bindparam("digest", type_=LargeBinary)
    found = (
        select(*_KEY.all, *_ACCOUNT.all, *_MEMBERSHIP.all, *_TENANT.all)
        .join(Account, Account.id == ApiKey.account_id)
        .join(Membership, (Membership.tenant_id == ApiKey.tenant_id) & (Membership.user_id == ApiKey.account_id))
        .join(Tenant, Tenant.id == ApiKey.tenant_id)
        .where(shown, or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()), Account.status == ACTIVE)
        .where(Membership.status == memberships.ACTIVE, Tenant.status == memberships.ACTIVE)
        .cte("found")
    )
    minute_ago = func.now() - timedelta(minutes=1)
    used = (
        update(ApiKey)
        .where(shown, or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < minute_ago))
        .where(exists().select_from(found))
        .values(last_used_at=func.now())
        .returning(ApiKey.id)
        .cte("used")
    )
    return select(*found.c).add_cte(used)


_HOLDER: Final = Prepared(_holder())


def _record(
    db: AsyncSession,
    kind: Literal["api_key_created", "api_key_revoked"],
    key: ApiKey,
    *,
    address: str | None,
    session_id: UUID | None = None,
    reason: EndReason | None = None,
    scopes: Collection[str] | None = None,
) -> None:
    details: dict[str, Any] = {"reason": reason, "scopes": None if scopes is None else list(scopes)}
    audit.record(
        db,
        kind,
        account_id=key.account_id,
        session_id=session_id,
        tenant_id=key.tenant_id,
        address=address,
        key_id=str(key.id),
        name=key.name,
        prefix=key.prefix,
        **{name: value for name, value in details.items() if value is not None},
    )
