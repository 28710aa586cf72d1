"""Deleting a tenant: closed at once, taken back within the grace period, or erased with all that it had."""

import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
from sqlalchemy import text

from shared.data import tenant_erasure
from shared.data.database import Database
from shared.data.placement.models import home_of_its_own
from shared.data.placement.move import Owner, move
from shared.ids import new_id
from shared.testing import People, eventually
from users_service.activity.handlers import FileDeleted as LoggedDeletion
from users_service.activity.handlers import log_event
from users_service.app import service as users
from users_service.members.commands import change_tenant
from users_service.tenant_deletion import service
from users_service.tenant_deletion.maintenance import erase
from users_service.tenants.service import TenantErasing

from .calls import Published, Register

pytestmark = pytest.mark.usefixtures("acme", "globex")


def recent(as_user: People, name: str, *, ago_s: int = 0, **token: Any) -> dict[str, str]:
    """Headers of a person who signed in so many seconds ago."""
    principal = replace(as_user.principal(name, **token), auth_time=int(time.time()) - ago_s)
    return as_user.headers(as_user.signer("gateway").forward(principal, "users"))


@pytest.fixture
def tenant(as_user: People) -> str:
    return f"/api/v1/tenants/{as_user.tenant_id('acme')}"


@pytest.fixture
def ann(as_user: People) -> dict[str, str]:
    return recent(as_user, "ann", roles=["admin"])


@pytest.fixture
def owner(postgres_admin_url: str, database_name: str) -> Owner:
    return Owner(postgres_admin_url, database_name, "users", users.migrations)


def problem(reply: httpx2.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["code"]


async def grace_is_over(database: Database, tenant_id: UUID) -> None:
    async with database.transaction(tenant_id) as db:
        await db.execute(text("UPDATE tenants SET erase_at = now() - interval '1 second' WHERE erase_at IS NOT NULL"))


async def rows_of(database: Database, tenant_id: UUID) -> dict[str, int]:
    """How many rows of the tenant each table with tenants has, that of tenants included."""
    counted = {}
    async with database.transaction(tenant_id) as db:
        for table in tenant_erasure.tenanted_tables():
            rows = text(f"SELECT count(*) FROM {table.name} WHERE tenant_id = :tenant")  # noqa: S608 - a model's name
            counted[table.name] = await db.scalar(rows, {"tenant": tenant_id}) or 0
    return counted


async def test_an_admin_deletes_the_tenant_and_it_is_closed_at_once(
    client: httpx2.AsyncClient, as_user: People, tenant: str, ann: dict[str, str], published: Published
) -> None:
    reply = await client.delete(tenant, headers=ann)
    assert (reply.status_code, reply.json()["status"]) == (202, "deleting")
    left = datetime.fromisoformat(reply.json()["erase_at"]) - datetime.now().astimezone()
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)
    feed = (await client.get("/internal/revocations", headers=as_user.service("auth"))).json()["entries"]
    [entry] = [one for one in feed if one["kind"] == "tenant"]
    assert (entry["id"], entry["suspended"]) == (str(as_user.tenant_id("acme")), True)
    refused = await client.patch(tenant, json={"name": "Ours"}, headers=ann)
    assert problem(refused) == (401, "invalid_token")
    path = f"/internal/memberships/{as_user.tenant_id('acme')}/{as_user.id('ann')}"
    membership = (await client.get(path, headers=as_user.service("tasks"))).json()
    assert membership["tenant"]["status"] == "suspended"  # all that the other services need to know
    events = [row for row in await published("tenant.") if row.type != "tenant.created.v1"]
    assert [(row.type, row.data["status"]) for row in events][-1] == ("tenant.suspended.v1", "suspended")


async def test_an_operator_takes_it_back(
    client: httpx2.AsyncClient,
    as_user: People,
    database: Database,
    tenant: str,
    ann: dict[str, str],
    operator: dict[str, str],
    published: Published,
) -> None:
    await client.delete(tenant, headers=ann)
    shown = (await client.get("/api/v1/tenants", params={"sort": "slug"}, headers=operator)).json()["items"]
    assert (shown[0]["slug"], shown[0]["status"]) == ("acme", "deleting")
    again = (await client.patch(tenant, json={"status": "active"}, headers=operator)).json()
    assert (again["status"], again["erase_at"]) == ("active", None)
    assert (await published("tenant."))[-1].type == "tenant.resumed.v1"
    assert (await client.patch(tenant, json={"name": "Ours"}, headers=ann)).status_code == 200
    await client.delete(tenant, headers=ann)
    assert await change_tenant(database, "acme", {"status": "active"}) == "acme is active and of the tier free"
    await grace_is_over(database, as_user.tenant_id("acme"))
    await erase(database)
    assert (await client.get(tenant, headers=ann)).status_code == 200


async def test_after_the_grace_period_all_of_it_is_erased(
    client: httpx2.AsyncClient,
    as_user: People,
    database: Database,
    storage_folder: Path,
    tenant: str,
    ann: dict[str, str],
    published: Published,
    register: Register,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tenant_erasure, "BATCH", 2)
    acme, globex = as_user.tenant_id("acme"), as_user.tenant_id("globex")
    gil = recent(as_user, "gil", tenant="globex", roles=["admin"])
    for name in ("cy", "dee"):
        await register(name)
    for headers in (ann, gil):
        for number in range(3):
            file = {"file": (f"{number}.txt", b"words")}
            keyed = headers | {"Idempotency-Key": str(number)}
            assert (await client.post("/api/v1/files", files=file, headers=keyed)).status_code == 201
    await client.post(f"{tenant}/invitations", json={"email": "eli@example.com", "roles": ["user"]}, headers=ann)
    before, others = await rows_of(database, acme), await rows_of(database, globex)
    assert {name for name, count in before.items() if count} >= {
        "tenants", "memberships", "profiles", "files", "invitations", "idempotency_keys"
    }  # fmt: skip
    await client.delete(tenant, headers=ann)
    await erase(database)
    assert (await rows_of(database, acme))["files"] == 3, "the grace period lasts"
    await grace_is_over(database, acme)
    await until_erased(database)
    assert set((await rows_of(database, acme)).values()) == {0}
    assert {**(await rows_of(database, globex)), "activity": 0} == {**others, "activity": 0}
    [erased] = await published("tenant.erased")
    assert (erased.subject, erased.data["slug"]) == (acme, "acme")
    await eventually(lambda: _is_empty(storage_folder / str(acme)), saying="its objects are removed")
    assert len(list((storage_folder / str(globex)).iterdir())) == 3
    new = (await client.post("/api/v1/tenants", json={"name": "Acme", "slug": "acme"}, headers=gil)).json()
    assert new["slug"] == "acme"


async def _is_empty(folder: Path) -> bool:
    return not folder.exists() or not list(folder.iterdir())  # noqa: ASYNC240 - a few files of the test


async def until_erased(database: Database) -> None:
    async def none_is_due() -> bool:
        await erase(database)
        return not await database.finds(service.ANY_DUE, role="fleet")

    await eventually(none_is_due, saying="no tenant is left to erase")


async def test_a_late_event_brings_nothing_back(
    client: httpx2.AsyncClient, as_user: People, database: Database, tenant: str, ann: dict[str, str]
) -> None:
    acme = as_user.tenant_id("acme")
    await client.delete(tenant, headers=ann)
    await grace_is_over(database, acme)
    await until_erased(database)
    event = LoggedDeletion.model_validate(
        {
            "id": new_id(),
            "source": "/users",
            "type": "file.deleted.v1",
            "subject": new_id(),
            "subject_version": 2,
            "time": datetime.now().astimezone(),
            "tenant_id": acme,
            "owner_id": as_user.id("ann"),
        }
    )
    async with database.transaction(acme) as db:
        await log_event(db, event)
    assert set((await rows_of(database, acme)).values()) == {0}


async def test_once_the_erasure_may_have_begun_nothing_is_taken_back(
    client: httpx2.AsyncClient,
    as_user: People,
    database: Database,
    tenant: str,
    ann: dict[str, str],
    operator: dict[str, str],
) -> None:
    await client.delete(tenant, headers=ann)
    await grace_is_over(database, as_user.tenant_id("acme"))
    late = await client.patch(tenant, json={"status": "active"}, headers=operator)
    if late.status_code != 404:  # the service's own loop may have erased it meanwhile
        assert problem(late) == (409, "tenant_erasing")
        with pytest.raises(TenantErasing):
            await change_tenant(database, "acme", {"status": "active"})


async def test_a_tenant_that_is_being_moved_waits(
    client: httpx2.AsyncClient, as_user: People, database: Database, tenant: str, ann: dict[str, str], owner: Owner
) -> None:
    acme = as_user.tenant_id("acme")
    await client.delete(tenant, headers=ann)
    async with owner.connection() as connection:
        await connection.execute(
            "INSERT INTO placements (tenant_id, other, phase) VALUES ($1, 'tenant_x', 'cleaning')", acme
        )
    await grace_is_over(database, acme)
    for _ in range(3):
        await erase(database)
    assert (await rows_of(database, acme))["profiles"] == 2


async def test_content_in_a_schema_of_its_own_is_erased(
    client: httpx2.AsyncClient, as_user: People, database: Database, tenant: str, ann: dict[str, str], owner: Owner
) -> None:
    acme = as_user.tenant_id("acme")
    await client.post("/api/v1/files", files={"file": ("a.txt", b"words")}, headers=ann)
    await move(owner, acme, own_schema=True, grace_s=0)
    assert (await rows_of(database, acme))["files"] == 1
    await client.delete(tenant, headers=ann)
    await grace_is_over(database, acme)
    await until_erased(database)
    async with owner.connection() as connection:
        for table in ("files", "profiles"):
            for home in ("public", home_of_its_own(acme)):
                left = f'SELECT count(*) FROM "{home}".{table} WHERE tenant_id = $1'  # noqa: S608 - of this test
                assert await connection.fetchval(left, acme) == 0


async def test_a_repeat_keeps_the_time(client: httpx2.AsyncClient, tenant: str, operator: dict[str, str],
                                       as_user: People) -> None:  # fmt: skip
    ops = recent(as_user, "ops", tenant="operations", roles=["admin", "system"])
    first, again = [await client.delete(tenant, headers=ops) for _ in range(2)]
    assert (first.status_code, again.status_code, again.json()) == (202, 202, first.json())
    assert first.headers["etag"] == again.headers["etag"]


async def test_a_stale_condition_deletes_nothing(client: httpx2.AsyncClient, tenant: str, ann: dict[str, str]) -> None:
    stale = await client.delete(tenant, headers=ann | {"If-Match": '"7"'})
    assert problem(stale) == (412, "precondition_failed")
    assert (await client.get(tenant, headers=ann)).json()["status"] == "active"


async def test_who_may_not_delete_it(client: httpx2.AsyncClient, as_user: People, tenant: str) -> None:
    ann = as_user.principal("ann", roles=["admin"])
    acting = replace(ann, impersonator=as_user.id("ops"), auth_time=int(time.time()))
    for headers, outcome in [
        (recent(as_user, "bob"), (403, "insufficient_scope")),
        (recent(as_user, "bob", roles=["admin"]), (403, "insufficient_scope")),  # the token alone says admin
        (recent(as_user, "gil", tenant="globex", roles=["admin"]), (404, "tenant_not_found")),
        (recent(as_user, "ann", ago_s=601, roles=["admin"]), (401, "insufficient_user_authentication")),
        (as_user("ann", roles=["admin"]), (401, "insufficient_user_authentication")),
        (as_user.headers(as_user.signer("gateway").forward(acting, "users")), (403, "impersonation_refused")),
    ]:
        assert problem(await client.delete(tenant, headers=headers)) == outcome
    shown = await client.get(tenant, headers=as_user("ann", roles=["admin"]))
    assert (shown.json()["status"], shown.json()["erase_at"]) == ("active", None)
