"""Opening and listing sessions. rotation.py refreshes them, ending.py ends them."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Text,
    Uuid,
    and_,
    bindparam,
    delete,
    exists,
    func,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import ACTIVE, Account
from auth_service.audit import service as audit
from auth_service.revocations import service as revocations
from auth_service.sessions.models import CLIENT_ID, Session, SessionProvider, open_conditions
from auth_service.settings import SessionSettings
from shared.data.prepared import Prepared
from shared.identity import Principal
from shared.identity.authentication import Authentication
from shared.problems import Forbidden, InvalidToken
from shared.web.paging import ListQuery, by_cursor

ENDED_KEPT_D = 30
SESSION_ENDED = "The session of this token has ended."


class SessionConfined(Forbidden):
    """A session that a tenant's own identity provider opened acts in that tenant alone, not on the account."""

    status, title = 403, "This session is confined to its tenant"
    remedy = "Sign in to the account itself, by its password or a provider of the fleet."


async def open_session(
    db: AsyncSession,
    account_id: UUID,
    tenant_id: UUID,
    *,
    by: Principal | None,
    verified_hash: str | None = None,
    client_id: str,
    limited_to: Collection[str] | None,
    authentication: Authentication,
    remembered: bool = False,
    provider: SessionProvider | None = None,
    device: str | None,
    address: str,
    opened_by: UUID | None = None,
    audience: str | None = None,
    dpop_jkt: str | None = None,
) -> tuple[Session, Account] | None:
    """Open a session in the tenant; None if the account is no longer active, or has another hash than `verified_hash`.

    By the person's own sign-in the tenant becomes the one last used, which is their default; a client changes no
    default. `by` is the person who opens it from another session of theirs, whose limits, lifetime and authentication
    it inherits. The account's row is locked first, so that a logout-all at the same time either ends this session too
    or is seen here. Raises InvalidToken.
    """
    account = await db.get(Account, account_id, with_for_update={"key_share": True})
    if by is not None:
        if not await is_live(db, by):
            raise InvalidToken(SESSION_ENDED)
        opener = await db.get(Session, by.session_id) if by.session_id else None
        limited_to = opener.limited_to if opener else sorted(by.scopes)
        authentication = authentication_of(opener) if opener else authentication
        remembered = opener is not None and opener.remembered
        provider = provider_of(opener) if opener else None
    if account is None or account.status != ACTIVE:
        return None
    if by is None and verified_hash not in (None, account.password_hash):  # changed while the person signed in
        return None
    if client_id == CLIENT_ID:
        account.last_tenant_id = tenant_id
    session = Session(
        account_id=account.id,
        tenant_id=tenant_id,
        client_id=client_id,
        limited_to=None if limited_to is None else sorted(limited_to),
        auth_time=authentication.at or func.now(),
        amr=sorted(authentication.methods),
        remembered=remembered,
        provider_id=provider.id if provider else None,
        confined=provider is not None and provider.confines,
        device=device,
        address=address,
        opened_by=opened_by,
        audience=audience,
        dpop_jkt=dpop_jkt,
        generation=0,
    )
    db.add(session)
    await db.flush()
    audit.record(
        db, "sign_in", account_id=account.id, session_id=session.id, tenant_id=tenant_id, address=address, device=device
    )
    return session, account


def authentication_of(session: Session) -> Authentication:
    """How and when the session's person last proved who they are."""
    return Authentication(frozenset(session.amr), session.auth_time)


async def prove(db: AsyncSession, session_id: UUID, methods: frozenset[str]) -> Session | None:
    """Record that the session's person proved who they are now, also by `methods`; None if it has ended."""
    opened = select(Session).where(Session.id == session_id, Session.ended_at.is_(None))
    session = await db.scalar(opened.with_for_update().execution_options(populate_existing=True))
    if session is None:
        return None
    proven: Session | None = await db.scalar(
        update(Session)
        .where(Session.id == session_id)
        .values(auth_time=func.now(), amr=sorted(methods.union(session.amr)))
        .returning(Session)
        .execution_options(populate_existing=True)
    )
    return proven


def provider_of(session: Session) -> SessionProvider | None:
    """The upstream provider that signed the session's person in; None for our own sign-in."""
    return SessionProvider(session.provider_id, session.confined) if session.provider_id else None


async def is_live(db: AsyncSession, user: Principal) -> bool:
    """Whether the token is still valid by this database: its account, epoch and session, and the token itself."""
    return bool(await db.scalar(select(live()), live_values(user)))


def live_values(user: Principal) -> dict[str, Any]:
    """What LIVE, the same question as one statement, asks about a token."""
    return {
        "user_id": user.user_id,
        "epoch": user.user_epoch,
        "session_id": user.session_id,
        "token_id": user.token_id,
    }


def live() -> ColumnElement[bool]:
    """The condition of LIVE, for a statement that asks more."""
    user_id, session_id = bindparam("user_id", type_=Uuid), bindparam("session_id", type_=Uuid)
    account = (Account.id == user_id, Account.status == ACTIVE, Account.epoch == bindparam("epoch", type_=BigInteger))
    session = (Session.id == session_id, Session.account_id == user_id, Session.ended_at.is_(None))
    token_ended = revocations.ended_token(bindparam("token_id", type_=Text))
    return and_(exists().where(*account), or_(session_id.is_(None), exists().where(*session)), not_(token_ended))


LIVE: Final = Prepared(select(live()))

CONFINED: Final = Prepared(
    select(
        exists().where(
            Session.id == bindparam("session_id", type_=Uuid),
            Session.account_id == bindparam("user_id", type_=Uuid),
            Session.confined,
        )
    )
)
"""Whether the session acts in its tenant alone."""


async def page(
    db: AsyncSession, user_id: UUID, query: ListQuery, limits: SessionSettings
) -> tuple[Sequence[Session], str | None]:
    """The person's open sessions in all their tenants, and the cursor of the next page; None at the end."""
    rows = select(Session).where(Session.account_id == user_id, *open_conditions(limits))
    sortable = {"created_at": Session.created_at, "last_seen_at": Session.last_seen_at}
    return await by_cursor(db, rows, query, sortable, Session.id)


async def prune(db: AsyncSession) -> None:
    """Delete sessions a month after they ended or expired."""
    await db.execute(delete(Session).where(Session.ended_at < func.now() - timedelta(days=ENDED_KEPT_D)))
