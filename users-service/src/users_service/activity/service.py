"""Recording events in the activity log, and reading it."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from shared.data.database import Database
from shared.events import Consumed
from shared.identity.principal import Principal, tenant_of
from shared.problems import InsufficientScope
from shared.web.paging import by_cursor
from users_service.activity import models
from users_service.activity.models import Activity
from users_service.activity.schemas import ActivityQuery
from users_service.tenants.models import hold_tenant

_SORTABLE = {"created_at": Activity.created_at}
_ROWS_AT_ONCE: Final = 200


async def record(db: AsyncSession, event: Consumed, user_id: UUID, data: dict[str, Any]) -> None:
    """Add an entry to the log of the event's tenant; events of no tenant, and of one that was erased, have no log."""
    if event.tenant_id is not None and await hold_tenant(db, event.tenant_id):
        await models.add(
            db,
            tenant_id=event.tenant_id,
            id=event.id,
            user_id=user_id,
            type=event.type.rpartition(".")[0],
            subject_id=event.subject,
            data=data,
            created_at=event.time,
        )


async def page(db: AsyncSession, user: Principal, query: ActivityQuery) -> tuple[Sequence[Activity], str | None]:
    """The caller's entries; with admin:read the tenant's. Raises InsufficientScope for another person's."""
    rows = select(Activity).where(Activity.tenant_id == tenant_of(user))
    asked = query.user_id
    if "admin:read" not in user.scopes:
        if asked not in (None, user.user_id):
            raise InsufficientScope(scopes=["admin:read"])
        asked = user.user_id
    if asked is not None:
        rows = rows.where(Activity.user_id == asked)
    if query.type:
        rows = rows.where(Activity.type.in_(query.type))
    return await by_cursor(db, rows, query, _SORTABLE, Activity.id)


async def lines(database: Database, user: Principal, query: ActivityQuery) -> AsyncIterator[str]:
    """All entries from the query's cursor on as CSV (RFC 4180), in short transactions.

    No cell is a text that a person wrote, so none can be a formula.
    """
    yield _csv([("id", "created_at", "user_id", "type", "subject_id", "data")])
    cursor = query.cursor
    while True:
        async with database.transaction(user.tenant_id) as db:
            following = query.model_copy(update={"cursor": cursor, "limit": _ROWS_AT_ONCE})
            found, cursor = await page(db, user, following)
        yield _csv(
            (one.id, one.created_at.isoformat(), one.user_id, one.type, one.subject_id, orjson.dumps(one.data).decode())
            for one in found
        )
        if cursor is None:
            return


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
