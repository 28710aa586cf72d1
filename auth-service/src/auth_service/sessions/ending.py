"""Ending sessions: the row, the revocation that gateways read, the event, and the notices to OAuth clients."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, not_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import Account
from auth_service.audit import service as audit
from auth_service.backchannel_logout import service as backchannel_logout
from auth_service.revocations import service as revocations
from auth_service.sessions.events import Reason, SessionRevoked
from auth_service.sessions.models import CLIENT_ID, Session, open_conditions
from auth_service.settings import SessionSettings
from shared.events import outbox
from shared.identity import Principal
from shared.problems import NotFound

EXPIRED: Final = "expired"
_MOST_EXPIRED: Final = 1000  # in one transaction; the next minute goes on


class SessionNotFound(NotFound):
    """The caller has no open session with this id."""

    status, title = 404, "No such session"


async def end_of_provider(db: AsyncSession, provider_id: UUID, address: str) -> None:
    """End the sessions of everyone whom the upstream provider has signed in."""
    await _end_each(db, await _open(db, Session.provider_id == provider_id), "provider_removed", address)


async def end_of_removed_client(db: AsyncSession, client_id: UUID, address: str) -> None:
    """End the sessions that an OAuth client has of everyone, by a few statements however many they are.

    It is not informed of them, and nothing is opened from them.
    """
    ended = {"ended_at": func.clock_timestamp(), "end_reason": "client_removed"}
    its = (Session.client_id == str(client_id), Session.ended_at.is_(None))
    rows = await db.scalars(update(Session).where(*its).values(ended).returning(Session))
    sessions = rows.all()
    for session in sessions:
        _publish_end(db, session, "client_removed")
        _record_end(db, session, "client_removed", address)
    await revocations.end_sessions(db, [session.id for session in sessions])


async def end_session(
    db: AsyncSession, session: Session, reason: Reason, address: str | None, *, actor_id: UUID | None = None
) -> None:
    """End an open session: its row, the revocation that gateways read, and the event.

    `actor_id` is who ends it, where that is not its person. Impersonations that were opened through it end too, and the
    sessions that OAuth clients opened, except those with offline_access (OpenID Connect Back-Channel Logout 1.0,
    section 2.7); all these clients are informed.
    """
    await _end(db, session, reason)
    await revocations.end_session(db, session.id)
    _record_end(db, session, reason, address, actor_id)
    for opened in await _open(db, Session.opened_by == session.id):
        if "offline_access" in (opened.limited_to or ()):
            await _inform_client(db, opened)
        else:
            await end_session(db, opened, reason, address, actor_id=opened.impersonator_id)


async def end_impersonations(
    db: AsyncSession, reason: Reason, address: str | None, *conditions: ColumnElement[bool]
) -> int:
    """End the impersonations that meet the conditions, in the name of their operators; returns the number."""
    found = await _open(db, Session.impersonator_id.is_not(None), *conditions)
    for session in found:
        await end_session(db, session, reason, address, actor_id=session.impersonator_id)
    return len(found)


async def end_impersonations_from(db: AsyncSession, operator_id: UUID, tenant_id: UUID) -> None:
    """End the impersonations that the operator has opened from the tenant, where they are no operator any more."""
    theirs = select(Session.id).where(Session.account_id == operator_id, Session.tenant_id == tenant_id)
    its = (Session.impersonator_id == operator_id, Session.opened_by.in_(theirs))
    await end_impersonations(db, "impersonation_ended", None, *its)


async def end_of_client(
    db: AsyncSession, account_id: UUID, tenant_id: UUID, client_id: str, reason: Reason, address: str
) -> None:
    """End the sessions that an OAuth client has of the person in the tenant."""
    theirs = (Session.account_id == account_id, Session.tenant_id == tenant_id, Session.client_id == client_id)
    await _end_each(db, await _open(db, *theirs), reason, address)


async def end_in_tenant(db: AsyncSession, user_id: UUID, tenant_id: UUID) -> None:
    """End the sessions of a person whose membership has ended; they stay ended even if the person returns.

    Their access tokens end by users-service's feed, which has the reason; no revocation of this service precedes it.
    """
    last = (Account.id == user_id, Account.last_tenant_id == tenant_id)
    await db.execute(update(Account).where(*last).values(last_tenant_id=None))  # it no longer brands their mails
    theirs = (Session.account_id == user_id, Session.tenant_id == tenant_id)
    for session in await _open(db, *theirs):
        await _end(db, session, "membership_ended")
        _record_end(db, session, "membership_ended", None)
    await end_impersonations_from(db, user_id, tenant_id)


async def end_own(
    db: AsyncSession, user_id: UUID, session_id: UUID, reason: Reason, address: str, *, actor_id: UUID | None = None
) -> None:
    """End one session of the person. Raises SessionNotFound for another person's and for an ended one."""
    own = (Session.id == session_id, Session.account_id == user_id, Session.ended_at.is_(None))
    session = (await db.scalars(select(Session).where(*own).with_for_update())).one_or_none()
    if session is None:
        raise SessionNotFound
    await end_session(db, session, reason, address, actor_id=actor_id)


async def end_of_token(db: AsyncSession, user: Principal, address: str) -> None:
    """End the session of the person's token; of one that another client got in exchange, the token alone.

    Raises SessionNotFound.
    """
    session = await db.get(Session, user.session_id) if user.session_id is not None else None
    if session is None:
        raise SessionNotFound
    if session.client_id != user.client_id:
        await revocations.end_token(db, user.token_id)
    else:
        await end_own(db, user.user_id, session.id, "logout", address, actor_id=user.impersonator)


async def end_others(db: AsyncSession, user: Principal, reason: Reason, address: str) -> int:
    """End the person's sessions except the one of their token; returns the number."""
    sessions = await _open(db, Session.account_id == user.user_id, Session.id != user.session_id)
    await _end_allowed_devices(db, user.user_id, reason)
    await _end_each(db, sessions, reason, address)
    return len(sessions)


async def end_all(db: AsyncSession, user_id: UUID, reason: Reason, address: str | None) -> int:
    """End all sessions of the person, and every access token by a new epoch; returns the number of sessions.

    An operator's impersonations end too: their tokens are other people's, which the epoch does not reach.
    """
    epoch = await db.scalar(
        update(Account).where(Account.id == user_id).values(epoch=Account.epoch + 1).returning(Account.epoch)
    )
    if epoch is None:
        raise SessionNotFound
    sessions = await _open(db, Session.account_id == user_id)
    for session in sessions:
        await _end(db, session, reason)
    await _end_allowed_devices(db, user_id, reason)
    await revocations.end_before_epoch(db, user_id, epoch)
    await end_impersonations(db, reason, address, Session.impersonator_id == user_id)
    audit.record(db, "all_sessions_ended", account_id=user_id, address=address, reason=reason, sessions=len(sessions))
    return len(sessions)


async def end_expired(db: AsyncSession, limits: SessionSettings) -> None:
    """Record which sessions have expired, and inform the OAuth clients whose sessions they were; once each.

    They are refused already, so there is neither an event nor a revocation. A client is not informed while it has
    another open session by the same sign-in, which its `sid` would end too.
    """
    expired = select(Session.id).where(Session.ended_at.is_(None), not_(and_(*open_conditions(limits))))
    locked = expired.limit(_MOST_EXPIRED).with_for_update(skip_locked=True)
    ended = {"ended_at": func.clock_timestamp(), "end_reason": EXPIRED}
    rows = await db.scalars(update(Session).where(Session.id.in_(locked)).values(ended).returning(Session))
    for session in rows.all():
        if session.client_id != CLIENT_ID and not await _is_any_open(db, *_by_same_sign_in(session)):
            await _inform_client(db, session)


async def _open(db: AsyncSession, *conditions: ColumnElement[bool]) -> Sequence[Session]:
    """The open sessions that meet the conditions, locked; each before those that were opened from it."""
    rows = select(Session).where(*conditions, Session.ended_at.is_(None)).order_by(Session.created_at, Session.id)
    return (await db.scalars(rows.with_for_update())).all()


async def _is_any_open(db: AsyncSession, *conditions: ColumnElement[bool]) -> bool:
    return bool(await db.scalar(select(exists().where(*conditions, Session.ended_at.is_(None)))))


async def _end_each(db: AsyncSession, sessions: Sequence[Session], reason: Reason, address: str) -> None:
    for session in sessions:
        if session.end_reason is None:  # one that a client opened may have ended with its browser's
            await end_session(db, session, reason, address)


async def _end_allowed_devices(db: AsyncSession, user_id: UUID, reason: Reason) -> None:
    """Take back what the person's browsers allowed before they signed out or expired, which outlives that alone.

    A device that was allowed asks for its tokens later (RFC 8628, section 3.4), and sees how that session ended.
    """
    signed_out = (Session.account_id == user_id, Session.end_reason.in_(("logout", EXPIRED)))
    await db.execute(update(Session).where(*signed_out).values(end_reason=reason))


async def _end(db: AsyncSession, session: Session, reason: Reason) -> None:
    session.ended_at, session.end_reason = func.clock_timestamp(), reason
    await db.flush()
    _publish_end(db, session, reason)
    await _inform_client(db, session)


def _publish_end(db: AsyncSession, session: Session, reason: Reason) -> None:
    revoked = SessionRevoked(
        subject=session.id,
        tenant_id=session.tenant_id,
        subject_version=session.generation + 1,
        user_id=session.account_id,
        reason=reason,
    )
    outbox.add(db, revoked)


async def _inform_client(db: AsyncSession, session: Session) -> None:
    """Queue a logout token for the client whose session this is; `sid` is the one in its ID tokens."""
    if session.client_id != CLIENT_ID:
        sid = session.opened_by or session.id
        await backchannel_logout.queue(db, UUID(session.client_id), session.account_id, sid)


def _record_end(
    db: AsyncSession, session: Session, reason: Reason, address: str | None, actor_id: UUID | None = None
) -> None:
    audit.record(
        db,
        "session_ended",
        account_id=session.account_id,
        actor_id=actor_id,
        session_id=session.id,
        tenant_id=session.tenant_id,
        address=address,
        reason=reason,
    )


def _by_same_sign_in(session: Session) -> tuple[ColumnElement[bool], ...]:
    """The client's sessions whose ID tokens have the same `sid`."""
    same_sid = Session.opened_by == session.opened_by if session.opened_by else Session.id == session.id
    return Session.client_id == session.client_id, same_sid
