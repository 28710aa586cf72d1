"""A tenant that users-service has erased leaves nothing here."""

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.data import tenant_erasure
from shared.events import Bus
from shared.events.event import Envelope
from shared.ids import new_id
from shared.resources import Resources
from shared.testing import People, eventually


async def test_jobs_go_with_what_hangs_on_them(
    jobs: Any, jobs_of: Any, as_user: People, database: Any, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenant_erasure, "BATCH", 2)
    for _ in range(5):
        await jobs.wait()
    await jobs_of(lambda: as_user("gil", tenant="globex")).wait()
    acme = as_user.tenant_id("acme")
    erased = Envelope(
        id=new_id(),
        source="/flotilla/users",
        type="tenant.erased.v1",
        subject=acme,
        time=datetime.now(UTC),
        tenantid=acme,
        subjectversion=3,
        data={"slug": "acme"},
    )
    await resources.get(Bus).publish(erased.encode(), event_type=erased.type, event_id=str(erased.id))

    async def left() -> dict[str, int]:
        counted = {}
        for table in tenant_erasure.tenanted_tables():
            rows = f"SELECT count(*) FROM {table.name} WHERE tenant_id = $1"  # noqa: S608 - a model's name
            counted[table.name] = int(await database.fetchval(rows, acme))
        return counted

    async def nothing_is_left() -> bool:
        return not any((await left()).values())

    assert (await left())["jobs"] == 5
    await eventually(nothing_is_left, within_s=30, every_s=0.2, saying="all rows of the tenant are deleted")
    assert await database.fetchval("SELECT count(*) FROM jobs") == 1
    await eventually(lambda: _none_noted(database), saying="the note goes last")


async def _none_noted(database: Any) -> bool:
    return await database.fetchval("SELECT count(*) FROM erased_tenants") == 0
