"""Queuing notices in the transaction that ends a session, and what the sender does with the queue."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from prometheus_client import Counter
from sqlalchemy import Exists, Uuid, column, delete, exists, func, literal, select, table, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.backchannel_logout.models import LogoutNotice
from shared.data.after_commit import announce
from shared.ids import new_id

KEPT: Final = timedelta(hours=6)

NOTICES = Counter("flotilla_auth_logout_notices_total", "Notices to OAuth clients by what became of them.", ["outcome"])

# By name: the registry of clients is above sessions, which queue notices.
_clients: Final = table("oauth_clients", column("id"), column("backchannel_logout_uri"), column("disabled_at"))

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Queued:
    """Announced when a notice was queued, to wake the sender of this process."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A notice that this process is to deliver now."""

    id: UUID
    client_id: UUID
    account_id: UUID
    sid: UUID
    url: str
    attempts: int


async def queue(db: AsyncSession, client_id: UUID, account_id: UUID, sid: UUID) -> None:
    """Inform the client, if it wants to be, that the sign-in `sid` has ended for it.

    `sid` is what its ID tokens carry: the session of the person's browser.
    """
    values = (literal(new_id(), Uuid), _clients.c.id, literal(account_id, Uuid), literal(sid, Uuid))
    wanted = select(*values, _clients.c.backchannel_logout_uri).where(
        _clients.c.id == client_id,
        _clients.c.backchannel_logout_uri.is_not(None),
        _clients.c.disabled_at.is_(None),
    )
    row = insert(LogoutNotice).from_select(["id", "client_id", "account_id", "sid", "url"], wanted)
    if await db.scalar(row.on_conflict_do_nothing().returning(LogoutNotice.id)) is not None:
        announce(db, Queued())


def due() -> Exists:
    """Whether a notice is due: what the sender polls."""
    return exists().where(LogoutNotice.due_at <= func.now())


async def claim(
    db: AsyncSession, most: int, *, each: int, besides: Collection[UUID], lease_s: float
) -> Sequence[Claimed]:
    """At most `most` due notices, for this process alone until the lease ends; then they are due again.

    At most `each` of one client, and none of the clients `besides`. Clients that have waited longest come first.
    """
    due_now = LogoutNotice.due_at <= func.now()
    first = func.min(LogoutNotice.due_at)
    clients = select(LogoutNotice.client_id).where(due_now, LogoutNotice.client_id.not_in(besides))
    waiting = clients.group_by(LogoutNotice.client_id).order_by(first).limit(most).subquery()
    own = (
        select(LogoutNotice.id)
        .where(due_now, LogoutNotice.client_id == waiting.c.client_id)
        .order_by(LogoutNotice.due_at)
        .limit(each)
        .with_for_update(skip_locked=True)
        .lateral()
    )
    ids = select(own.c.id).select_from(waiting).join(own, true()).limit(most)
    changes = {"attempts": LogoutNotice.attempts + 1, "due_at": func.now() + timedelta(seconds=lease_s)}
    rows = await db.scalars(
        update(LogoutNotice).where(LogoutNotice.id.in_(ids)).values(changes).returning(LogoutNotice)
    )
    return [Claimed(row.id, row.client_id, row.account_id, row.sid, row.url, row.attempts) for row in rows]


async def finish(db: AsyncSession, notice: Claimed, *, delivered: bool) -> None:
    """Delete a notice that was delivered or is given up."""
    await db.execute(delete(LogoutNotice).where(LogoutNotice.id == notice.id))
    NOTICES.labels("delivered" if delivered else "refused").inc()


async def postpone(db: AsyncSession, notice: Claimed, wait_s: float) -> None:
    """Let the notice be due again in `wait_s` seconds."""
    due_at = func.now() + timedelta(seconds=wait_s)
    await db.execute(update(LogoutNotice).where(LogoutNotice.id == notice.id).values(due_at=due_at))


async def prune(db: AsyncSession) -> None:
    """Give up the notices that could not be delivered for six hours."""
    old = delete(LogoutNotice).where(LogoutNotice.created_at < func.now() - KEPT)
    for client_id in await db.scalars(old.returning(LogoutNotice.client_id)):
        NOTICES.labels("dropped").inc()
        log.warning("logout_notice_dropped", client_id=str(client_id), reason="not delivered within six hours")
