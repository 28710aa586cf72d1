"""Adding to the feed, in the transaction that ends something, and reading it."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Text, delete, exists, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY, Insert, insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.revocations.models import Revocation
from shared.identity.revocation_entries import (
    KEPT_S,
    Entry,
    FeedPage,
    SessionEnded,
    TokenEnded,
    UserEpoch,
    feed_page,
    read_from,
)


async def end_session(db: AsyncSession, session_id: UUID) -> None:
    """Every access token of the session is no longer valid."""
    await _put(db, "session", str(session_id))


async def end_sessions(db: AsyncSession, session_ids: Collection[UUID]) -> None:
    """The same for many sessions, by one statement."""
    now, refs = func.clock_timestamp(), literal([str(one) for one in session_ids], ARRAY(Text))
    rows = select(literal("session", Text), func.unnest(refs), now, now + timedelta(seconds=KEPT_S))
    await _store(db, insert(Revocation).from_select(["kind", "ref", "changed_at", "expires_at"], rows))


async def end_before_epoch(db: AsyncSession, user_id: UUID, epoch: int) -> None:
    """Every access token of the person from before `epoch` is no longer valid."""
    await _put(db, "user", str(user_id), epoch)


async def end_token(db: AsyncSession, token_id: str) -> None:
    """This one access token is no longer valid."""
    await _put(db, "token", token_id)


def ended_token(token_id: ColumnElement[str]) -> ColumnElement[bool]:
    """As a condition: this one access token was revoked."""
    return exists().where(Revocation.kind == "token", Revocation.ref == token_id)


async def page(db: AsyncSession, after: str | None) -> FeedPage:
    """What changed since the cursor `after` (None: all that still ends something). Raises InvalidInput."""
    since = read_from(after)
    now: datetime = (await db.execute(select(func.now()))).scalar_one()
    rows = select(Revocation).where(Revocation.expires_at > now)
    if since is not None:
        rows = rows.where(Revocation.changed_at > since)
    return feed_page([_entry(row) for row in await db.scalars(rows)], now)


async def prune(db: AsyncSession) -> None:
    """Forget what ends nothing any more."""
    await db.execute(delete(Revocation).where(Revocation.expires_at < func.now()))


async def _put(db: AsyncSession, kind: Literal["token", "session", "user"], ref: str, epoch: int | None = None) -> None:
    now = func.clock_timestamp()  # the transaction may have begun long ago, and readers look back 30 s only
    row = insert(Revocation).values(
        kind=kind, ref=ref, epoch=epoch, changed_at=now, expires_at=now + timedelta(seconds=KEPT_S)
    )
    await _store(db, row)


async def _store(db: AsyncSession, row: Insert) -> None:
    """Insert the rows; of what was ended before, the later epoch and the later times stay."""
    new = row.excluded
    epoch_now = func.greatest(Revocation.epoch, new.epoch)
    changes = {"epoch": epoch_now, "changed_at": new.changed_at, "expires_at": new.expires_at}
    await db.execute(row.on_conflict_do_update(index_elements=["kind", "ref"], set_=changes))


def _entry(row: Revocation) -> Entry:
    expires_at = int(row.expires_at.timestamp()) + 1
    if row.kind == "token":
        return TokenEnded(id=row.ref, expires_at=expires_at)
    if row.kind == "session":
        return SessionEnded(id=UUID(row.ref), expires_at=expires_at)
    return UserEpoch(id=UUID(row.ref), epoch=row.epoch or 0, expires_at=expires_at)
