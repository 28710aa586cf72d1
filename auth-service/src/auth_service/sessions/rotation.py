"""Rotating refresh tokens: every way in which a refresh succeeds or is refused."""

from datetime import timedelta

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import ACTIVE, Account
from auth_service.audit import service as audit
from auth_service.sessions import ending
from auth_service.sessions.models import Session, next_generation, open_conditions
from auth_service.sessions.refresh_request import RefreshRequest
from auth_service.sessions.refresh_tokens import RefreshToken
from auth_service.settings import SessionSettings
from shared.problems import Forbidden, Unauthenticated


class RefreshRefused(Unauthenticated):
    """The refresh token is unknown, or its session has ended or expired."""

    status, title = 401, "The session cannot be refreshed"
    remedy = "Sign in again."


class RefreshTokenReused(RefreshRefused):
    """The refresh token was used before, so a copy of it exists; the session and all its tokens were ended."""

    status, title = 401, "The refresh token was used before"
    remedy = "Sign in again. If your program did not repeat the refresh, another party had a copy of the token."
    keeps_writes = True


class MembershipEnded(RefreshRefused):
    """The person is no longer an active member of the session's tenant, or the tenant is suspended."""

    status, title = 401, "The session's tenant does not admit you"
    remedy = "Sign in to another tenant, or ask an admin of this one."
    keeps_writes = True  # users-service's answer about the membership


class SecondFactorMissing(RefreshRefused):
    """The session's tenant requires a second factor, and the session was opened without one."""

    status, title = 401, "The session's tenant requires a second factor"
    remedy = "Sign in again, with a second factor."


class CsrfRefused(Forbidden):
    """A refresh by cookie came from an origin that is not allowed, or without the session's CSRF token."""

    status, title = 403, "The refresh does not come from an allowed page"
    remedy = "Send the sign-in's `csrf_token` as `X-CSRF-Token`, from an allowed origin; nothing was rotated."


async def find(db: AsyncSession, asked: RefreshRequest) -> tuple[Session, Account]:
    """The client's session, unless it has ended, and its active account; `rotate` checks expiry.

    Raises RefreshRefused, and what the request's own check raises.
    """
    rows = await db.execute(
        select(Session, Account)
        .join(Account, Account.id == Session.account_id)
        .where(Session.id == asked.token.family, Session.client_id == asked.client_id)
        .where(Session.ended_at.is_(None), Account.status == ACTIVE)
    )
    row = rows.one_or_none()
    if row is None:
        raise RefreshRefused
    asked.check(row[0])
    return row[0], row[1]


async def rotate(db: AsyncSession, token: RefreshToken, limits: SessionSettings, address: str) -> Session:
    """Move the session to its next generation: one compare-and-swap, however many try at the same time.

    The token of the previous generation, within the grace window, gets the current generation again, because its
    client lost the answer. Any other token ends the session with all tokens that it issued (RFC 9700, section 4.14.2).
    Raises RefreshRefused, RefreshTokenReused.
    """
    moved = await db.execute(
        next_generation(limits)
        .where(Session.id == token.family, Session.generation == token.generation)
        .returning(Session)
        .execution_options(populate_existing=True)
    )
    if (session := moved.scalar_one_or_none()) is not None:
        return session
    recent = func.clock_timestamp() - Session.rotated_at <= timedelta(seconds=limits.refresh_grace_s)
    found = await db.execute(
        select(Session, and_(*open_conditions(limits)), recent)
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


async def check_open(db: AsyncSession, session: Session, limits: SessionSettings) -> None:
    """Raises RefreshRefused if the session, which was rotated a moment ago, has ended since."""
    if await db.scalar(select(Session.id).where(Session.id == session.id, *open_conditions(limits))) is None:
        raise RefreshRefused


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
    await ending.end_session(db, session, "reuse", address)
