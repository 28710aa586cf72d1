"""Opening, listing and ending sessions. rotation.py refreshes them."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import ACTIVE, Account
from auth_service.audit import service as audit
from auth_service.revocations import service as revocations
from auth_service.sessions.events import Reason, SessionRevoked
from auth_service.sessions.models import Session, open_conditions
from auth_service.settings import SessionSettings
from shared.events import outbox
from shared.identity import Principal
from shared.problems import InvalidToken, NotFound
from shared.web.paging import ListQuery, by_cursor

ENDED_KEPT_D = 30
SESSION_ENDED = "The session of this token has ended."


class SessionNotFound(NotFound):
    """The caller has no open session with this id."""

    status, title = 404, "No such session"


async def open_session(
    db: AsyncSession,
    account_id: UUID,
    tenant_id: UUID,
    *,
    by: Principal | None,
    client_id: str,
    limited_to: Collection[str] | None,
    device: str | None,
    address: str,
) -> tuple[Session, Account] | None:
    """Open a session in the tenant, which becomes the one last used; None if the account is no longer active.

    `by` is the person who opens it from another session of theirs, whose limits it inherits. The account's row is
    locked first, so that a logout-all at the same time either ends this session too or is seen here. Raises
    InvalidToken.
    """
    account = await db.get(Account, account_id, with_for_update={"key_share": True})
    if by is not None:
        if not await is_live(db, by):
            raise InvalidToken(SESSION_ENDED)
        opener = await db.get(Session, by.session_id) if by.session_id else None
        limited_to = opener.limited_to if opener else sorted(by.scopes)
    if account is None or account.status != ACTIVE:
        return None
    account.last_tenant_id = tenant_id
    session = Session(
        account_id=account.id,
        tenant_id=tenant_id,
        client_id=client_id,
        limited_to=None if limited_to is None else sorted(limited_to),
        device=device,
        address=address,
        generation=0,
    )
    db.add(session)
    await db.flush()
    audit.record(
        db, "sign_in", account_id=account.id, session_id=session.id, tenant_id=tenant_id, address=address, device=device
    )
    return session, account


async def end(db: AsyncSession, session: Session, reason: Reason, address: str) -> None:
    """End an open session: its row, the revocation that gateways read, and the event."""
    await _end(db, session, reason)
    await revocations.end_session(db, session.id)
    _record_end(db, session, reason, address)


async def end_in_tenant(db: AsyncSession, user_id: UUID, tenant_id: UUID) -> None:
    """End the sessions of a person whose membership has ended; they stay ended even if the person returns.

    Their access tokens end by users-service's feed, which has the reason; no revocation of this service precedes it.
    """
    theirs = (Session.account_id == user_id, Session.tenant_id == tenant_id, Session.ended_at.is_(None))
    for session in (await db.scalars(select(Session).where(*theirs).with_for_update())).all():
        await _end(db, session, "membership_ended")
        _record_end(db, session, "membership_ended", None)


async def end_own(db: AsyncSession, user_id: UUID, session_id: UUID, reason: Reason, address: str) -> None:
    """End one session of the person. Raises SessionNotFound for another person's and for an ended one."""
    own = (Session.id == session_id, Session.account_id == user_id, Session.ended_at.is_(None))
    session = (await db.scalars(select(Session).where(*own).with_for_update())).one_or_none()
    if session is None:
        raise SessionNotFound
    await end(db, session, reason, address)


async def end_others(db: AsyncSession, user: Principal, reason: Reason, address: str) -> int:
    """End the person's sessions except the one of their token; returns the number."""
    others = (Session.account_id == user.user_id, Session.ended_at.is_(None), Session.id != user.session_id)
    sessions = (await db.scalars(select(Session).where(*others).with_for_update())).all()
    for session in sessions:
        await end(db, session, reason, address)
    return len(sessions)


async def end_all(db: AsyncSession, user_id: UUID, reason: Reason, address: str) -> int:
    """End all sessions of the person, and every access token by a new epoch; returns the number of sessions."""
    epoch = await db.scalar(
        update(Account).where(Account.id == user_id).values(epoch=Account.epoch + 1).returning(Account.epoch)
    )
    if epoch is None:
        raise SessionNotFound
    theirs = select(Session).where(Session.account_id == user_id, Session.ended_at.is_(None)).with_for_update()
    sessions: Sequence[Session] = (await db.scalars(theirs)).all()
    for session in sessions:
        await _end(db, session, reason)
    await revocations.end_before_epoch(db, user_id, epoch)
    audit.record(db, "all_sessions_ended", account_id=user_id, address=address, reason=reason, sessions=len(sessions))
    return len(sessions)


async def is_live(db: AsyncSession, user: Principal) -> bool:
    """Whether the token is still valid by this database: its account, epoch and session, and the token itself."""
    account = exists().where(Account.id == user.user_id, Account.status == ACTIVE, Account.epoch == user.user_epoch)
    conditions: list[ColumnElement[bool]] = [account]
    if user.session_id is not None:
        conditions.append(
            exists().where(
                Session.id == user.session_id, Session.account_id == user.user_id, Session.ended_at.is_(None)
            )
        )
    return bool(await db.scalar(select(and_(*conditions)))) and not await revocations.is_ended(db, user.token_id)


async def page(
    db: AsyncSession, user_id: UUID, query: ListQuery, limits: SessionSettings
) -> tuple[Sequence[Session], str | None]:
    """The person's open sessions in all their tenants, and the cursor of the next page; None at the end."""
    rows = select(Session).where(Session.account_id == user_id, *open_conditions(limits))
    sortable = {"created_at": Session.created_at, "last_seen_at": Session.last_seen_at}
    return await by_cursor(db, rows, query, sortable, Session.id)


async def prune(db: AsyncSession, limits: SessionSettings) -> None:
    """Delete sessions that ended or expired a month ago."""
    old = func.now() - timedelta(days=ENDED_KEPT_D)
    out = Session.last_seen_at < old - timedelta(seconds=limits.idle_ttl_s)
    await db.execute(delete(Session).where(or_(Session.ended_at < old, out)))


async def _end(db: AsyncSession, session: Session, reason: Reason) -> None:
    session.ended_at, session.end_reason = func.clock_timestamp(), reason
    await db.flush()
    revoked = SessionRevoked(
        subject=session.id,
        tenant_id=session.tenant_id,
        subject_version=session.generation + 1,
        user_id=session.account_id,
        reason=reason,
    )
    outbox.add(db, revoked)


def _record_end(db: AsyncSession, session: Session, reason: Reason, address: str | None) -> None:
    audit.record(
        db,
        "session_ended",
        account_id=session.account_id,
        session_id=session.id,
        tenant_id=session.tenant_id,
        address=address,
        reason=reason,
    )
