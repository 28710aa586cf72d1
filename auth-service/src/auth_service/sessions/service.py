"""Sessions in the database: opened, carried on, ended; and every way in which a sign-in or a refresh is refused."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import ACTIVE, Account
from auth_service.audit import service as audit
from auth_service.revocations import service as revocations
from auth_service.sessions.events import Reason, SessionRevoked
from auth_service.sessions.models import Session
from auth_service.sessions.refresh_tokens import RefreshToken
from auth_service.settings import SessionSettings
from shared.events import outbox
from shared.identity import Principal
from shared.problems import Forbidden, InvalidToken, NotFound, Unauthenticated

ENDED_KEPT_D = 30
SESSION_ENDED = "The session of this token has ended."


class SignInRefused(Unauthenticated):
    """The username or the password is wrong; which of the two is not told."""

    status, title = 401, "Username or password is wrong"
    remedy = "Check both; after ten failures in a quarter of an hour the account is closed to sign-ins for a while."
    keeps_writes = True


class RefreshRefused(Unauthenticated):
    """The refresh token is unknown, or its session has ended or expired."""

    status, title = 401, "The session cannot be refreshed"
    remedy = "Sign in again."


class RefreshTokenReused(RefreshRefused):
    """The refresh token was used before, so there is a copy of it; the session and all its tokens were ended."""

    status, title = 401, "The refresh token was used before"
    remedy = "Sign in again. If it was not your program that repeated itself, someone had a copy of the token."
    keeps_writes = True


class MembershipEnded(RefreshRefused):
    """The person is no active member of the session's tenant any more, or the tenant is suspended."""

    status, title = 401, "The session's tenant is closed to you"
    remedy = "Sign in to another tenant, or ask an admin of this one."
    keeps_writes = True  # what users-service said about it


class CsrfRefused(Forbidden):
    """A refresh by cookie came from an origin that is not allowed, or without the session's CSRF token."""

    status, title = 403, "The refresh does not come from your page"
    remedy = "Send the sign-in's `csrf_token` as `X-CSRF-Token`, from an allowed origin; nothing was rotated."


class SessionNotFound(NotFound):
    """There is no such session of the caller's that is still open."""

    status, title = 404, "No such session"


class TenantNotFound(NotFound):
    """No such tenant, or one that the caller does not belong to."""

    status, title = 404, "No such tenant"


class TenantClosed(Forbidden):
    """The tenant, or the person's membership in it, is suspended."""

    status, title = 403, "The tenant is closed to you for now"
    remedy = "Ask an admin of the tenant, or an operator of the fleet."


async def open_session(
    db: AsyncSession,
    account_id: UUID,
    tenant_id: UUID,
    *,
    by: Principal | None,
    client_id: str,
    device: str | None,
    address: str,
) -> tuple[Session, Account]:
    """Begin a session in the tenant, which is the one last used from now on; with the account as it is now.

    `by` is who opens it from a session of theirs. The account's row is locked first, so that a logout-all at the same
    time either ends this session too or is seen here. Raises InvalidToken, SignInRefused.
    """
    account = await db.get(Account, account_id, with_for_update={"key_share": True})
    if by is not None and not await is_live(db, by):
        raise InvalidToken(SESSION_ENDED)
    if account is None or account.status != ACTIVE:
        raise SignInRefused
    account.last_tenant_id = tenant_id
    session = Session(
        account_id=account.id, tenant_id=tenant_id, client_id=client_id, device=device, address=address, generation=0
    )
    db.add(session)
    await db.flush()
    audit.record(
        db, "sign_in", account_id=account.id, session_id=session.id, tenant_id=tenant_id, address=address, device=device
    )
    return session, account


async def find(db: AsyncSession, session_id: UUID) -> tuple[Session, Account]:
    """The open session and its person. Raises RefreshRefused."""
    rows = await db.execute(
        select(Session, Account)
        .join(Account, Account.id == Session.account_id)
        .where(Session.id == session_id, Session.ended_at.is_(None), Account.status == ACTIVE)
    )
    row = rows.one_or_none()
    if row is None:
        raise RefreshRefused
    return row[0], row[1]


async def rotate(db: AsyncSession, token: RefreshToken, limits: SessionSettings, address: str) -> Session:
    """Carry the session on to its next generation: one compare-and-swap, whoever else tries at the same time.

    The token of the generation before, within the grace window, gets the generation that is: its client lost the
    answer. Any other ends the session with all that it issued. Raises RefreshRefused, RefreshTokenReused.
    """
    moved = await db.execute(
        update(Session)
        .where(Session.id == token.family, Session.generation == token.generation, *_open(limits))
        .values(
            generation=Session.generation + 1, rotated_at=func.clock_timestamp(), last_seen_at=func.clock_timestamp()
        )
        .returning(Session)
        .execution_options(populate_existing=True)
    )
    if (session := moved.scalar_one_or_none()) is not None:
        return session
    recent = func.clock_timestamp() - Session.rotated_at <= timedelta(seconds=limits.refresh_grace_s)
    found = await db.execute(
        select(Session, and_(*_open(limits)), recent)
        .where(Session.id == token.family)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    row = found.one_or_none()
    if row is None or not row[1]:
        raise RefreshRefused
    session, _, in_grace = row
    if token.generation == session.generation - 1 and in_grace:
        return session
    await _reused(db, session, token, address)
    raise RefreshTokenReused


async def end(db: AsyncSession, session: Session, reason: Reason, address: str) -> None:
    """End an open session: its row, the revocation that gateways see, and the event, in one transaction."""
    await _end(db, session, reason)
    await revocations.end_session(db, session.id)
    _record_end(db, session, reason, address)


async def end_in_tenant(db: AsyncSession, user_id: UUID, tenant_id: UUID) -> None:
    """The person is no member of the tenant any more, so their sessions there never go on, even if they return.

    Their access tokens end by users-service's feed, which says why; no revocation of ours stands before it.
    """
    theirs = (Session.account_id == user_id, Session.tenant_id == tenant_id, Session.ended_at.is_(None))
    for session in (await db.scalars(select(Session).where(*theirs).with_for_update())).all():
        await _end(db, session, "membership_ended")
        _record_end(db, session, "membership_ended", None)


async def end_own(db: AsyncSession, user_id: UUID, session_id: UUID, reason: Reason, address: str) -> None:
    """End one session of the person. Raises SessionNotFound for another's, and for one that has ended."""
    own = (Session.id == session_id, Session.account_id == user_id, Session.ended_at.is_(None))
    session = (await db.scalars(select(Session).where(*own).with_for_update())).one_or_none()
    if session is None:
        raise SessionNotFound
    await end(db, session, reason, address)


async def end_all(db: AsyncSession, user_id: UUID, address: str) -> int:
    """End all sessions of the person, and with a new epoch every access token; how many sessions there were."""
    epoch = await db.scalar(
        update(Account).where(Account.id == user_id).values(epoch=Account.epoch + 1).returning(Account.epoch)
    )
    if epoch is None:
        raise SessionNotFound
    theirs = select(Session).where(Session.account_id == user_id, Session.ended_at.is_(None)).with_for_update()
    sessions: Sequence[Session] = (await db.scalars(theirs)).all()
    for session in sessions:
        await _end(db, session, "logout_all")
    await revocations.end_before_epoch(db, user_id, epoch)
    audit.record(db, "all_sessions_ended", account_id=user_id, address=address, sessions=len(sessions))
    return len(sessions)


async def is_live(db: AsyncSession, user: Principal) -> bool:
    """Whether the person's token still counts by this database: account, epoch, session and the token itself."""
    account = exists().where(Account.id == user.user_id, Account.status == ACTIVE, Account.epoch == user.user_epoch)
    conditions: list[ColumnElement[bool]] = [account]
    if user.session_id is not None:
        conditions.append(
            exists().where(
                Session.id == user.session_id, Session.account_id == user.user_id, Session.ended_at.is_(None)
            )
        )
    return bool(await db.scalar(select(and_(*conditions)))) and not await revocations.is_ended(db, user.token_id)


def own_sessions(user_id: UUID, limits: SessionSettings) -> Any:
    """The person's open sessions, to be paged."""
    return select(Session).where(Session.account_id == user_id, *_open(limits))


async def prune(db: AsyncSession, limits: SessionSettings) -> None:
    """Forget sessions that ended or ran out a month ago."""
    old = func.now() - timedelta(days=ENDED_KEPT_D)
    out = Session.last_seen_at < old - timedelta(seconds=limits.idle_ttl_s)
    await db.execute(delete(Session).where(or_(Session.ended_at < old, out)))


def _open(limits: SessionSettings) -> tuple[ColumnElement[bool], ...]:
    return (
        Session.ended_at.is_(None),
        Session.last_seen_at > func.now() - timedelta(seconds=limits.idle_ttl_s),
        Session.created_at > func.now() - timedelta(seconds=limits.max_ttl_s),
    )


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


async def _reused(db: AsyncSession, session: Session, token: RefreshToken, address: str) -> None:
    audit.record(
        db,
        "refresh_token_reused",
        account_id=session.account_id,
        session_id=session.id,
        tenant_id=session.tenant_id,
        address=address,
        generation=token.generation,
        current=session.generation,
    )
    await end(db, session, "reuse", address)
