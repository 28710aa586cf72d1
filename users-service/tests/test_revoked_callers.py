"""A token that verifies proves who calls, not what they may still do.

Until the revocation feed reaches every process (2 s) the token of a removed or demoted admin, of a suspended tenant's
admin, or of a former operator goes on to verify. Here it is sent at once, and must grant and destroy nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable

import httpx2
import pytest
from sqlalchemy import text

from shared.data.database import Database
from shared.testing import People, eventually
from users_service.members.commands import set_operator
from users_service.tenants.models import Membership, lock_tenant

from .calls import Published, Register

pytestmark = pytest.mark.usefixtures("acme", "globex", "ben_is_admin")

Put = Callable[..., Awaitable[httpx2.Response]]
ENDED, LACKS = (401, "invalid_token"), (403, "insufficient_scope")


def outcome(reply: httpx2.Response) -> tuple[int, str | None]:
    return reply.status_code, reply.json().get("code") if reply.content else None


@pytest.fixture
def acme_path(as_user: People) -> str:
    return f"/api/v1/tenants/{as_user.tenant_id('acme')}"


@pytest.fixture
def ann(as_user: People) -> dict[str, str]:
    return as_user("ann", roles=["admin"])


@pytest.fixture
def ben(as_user: People) -> dict[str, str]:
    """The token that ben got as an admin."""
    return as_user("ben", roles=["admin"])


@pytest.fixture
def member(as_user: People) -> Callable[..., str]:
    """The path of a person's membership: `member("ben")`, `member("cy", "globex")`."""
    return lambda name, tenant="acme": f"/api/v1/tenants/{as_user.tenant_id(tenant)}/members/{as_user.id(name)}"


@pytest.fixture
def put(client: httpx2.AsyncClient, member: Callable[..., str]) -> Put:
    """Gives a person roles: `await put(ann, "ben", ["admin"])`."""

    async def call(caller: dict[str, str], name: str, roles: list[str], tenant: str = "acme") -> httpx2.Response:
        return await client.put(member(name, tenant), json={"roles": roles}, headers=caller)

    return call


@pytest.fixture
async def ben_is_admin(register: Register, acme: None, ann: dict[str, str], put: Put) -> None:
    """Besides ann, who makes him one; cy is a member of acme."""
    await register("ben")
    await register("cy")
    assert (await put(ann, "ben", ["admin"])).status_code == 200


async def states(database: Database, as_user: People) -> dict[str, tuple[str, list[str]]]:
    """Status and roles of everyone who is or was in acme."""
    async with database.transaction(as_user.tenant_id("acme")) as db:
        rows = await db.execute(text("SELECT username, status, roles FROM memberships"))
        return {row.username: (row.status, row.roles) for row in rows}


async def test_a_removed_admin_does_not_take_up_the_membership_again(
    client: httpx2.AsyncClient,
    database: Database,
    as_user: People,
    member: Callable[..., str],
    put: Put,
    ann: dict[str, str],
    ben: dict[str, str],
) -> None:
    assert (await client.delete(member("ben"), headers=ann)).status_code == 204
    assert outcome(await put(ben, "ben", ["admin"])) == ENDED
    assert (await states(database, as_user))["ben"] == ("ended", ["admin"])


async def test_a_removed_admin_makes_no_accomplice_admin(
    client: httpx2.AsyncClient,
    database: Database,
    as_user: People,
    member: Callable[..., str],
    put: Put,
    ann: dict[str, str],
    ben: dict[str, str],
) -> None:
    assert (await client.delete(member("ben"), headers=ann)).status_code == 204
    assert outcome(await put(ben, "cy", ["admin"])) == ENDED
    assert outcome(await put(ben, "gil", ["admin"])) == ENDED
    found = await states(database, as_user)
    assert (found["cy"], found.get("gil")) == (("active", ["user"]), None)


async def test_an_admin_who_was_invited_again_waits_until_they_accept(
    client: httpx2.AsyncClient,
    database: Database,
    as_user: People,
    member: Callable[..., str],
    put: Put,
    ann: dict[str, str],
    ben: dict[str, str],
) -> None:
    assert (await client.delete(member("ben"), headers=ann)).status_code == 204
    assert (await put(ann, "ben", ["user"])).status_code == 201
    assert outcome(await put(ben, "ben", ["admin"])) == ENDED
    assert (await states(database, as_user))["ben"] == ("invited", ["user"])


async def test_a_demoted_admin_does_not_promote_themselves_again(
    client: httpx2.AsyncClient,
    database: Database,
    as_user: People,
    member: Callable[..., str],
    acme_path: str,
    put: Put,
    ann: dict[str, str],
    ben: dict[str, str],
) -> None:
    assert (await put(ann, "ben", ["user"])).status_code == 200
    for reply in [
        await put(ben, "ben", ["admin"]),
        await put(ben, "cy", ["admin"]),
        await client.delete(member("ann"), headers=ben),
        await client.patch(acme_path, json={"name": "Ben's"}, headers=ben),
    ]:
        assert outcome(reply) == LACKS
    assert await states(database, as_user) == {
        "ann": ("active", ["admin"]),
        "ben": ("active", ["user"]),
        "bob": ("active", ["user"]),
        "cy": ("active", ["user"]),
    }


async def test_a_suspended_tenants_admin_changes_nothing_in_it(
    client: httpx2.AsyncClient,
    database: Database,
    as_user: People,
    member: Callable[..., str],
    acme_path: str,
    put: Put,
    operator: dict[str, str],
    ann: dict[str, str],
    published: Published,
) -> None:
    suspended = await client.patch(acme_path, json={"status": "suspended"}, headers=operator)
    assert suspended.status_code == 200
    before = await states(database, as_user), len(await published())
    for reply in [
        await put(ann, "cy", ["admin"]),
        await client.delete(member("cy"), headers=ann),
        await client.patch(acme_path, json={"name": "Ours"}, headers=ann),
    ]:
        assert outcome(reply) == ENDED
    assert (await states(database, as_user), len(await published())) == before
    assert (await put(operator, "cy", ["analyst"])).status_code == 200  # the operator's own tenant is active
    await client.patch(acme_path, json={"status": "active"}, headers=operator)
    assert (await put(ann, "cy", ["user"])).status_code == 200


async def test_a_removed_admin_deletes_no_files(
    client: httpx2.AsyncClient,
    as_user: People,
    member: Callable[..., str],
    put: Put,
    ann: dict[str, str],
    ben: dict[str, str],
) -> None:
    files = {"file": ("a.txt", b"words")}
    cys = (await client.post("/api/v1/files", files=files, headers=as_user("cy"))).json()["id"]
    bens = (await client.post("/api/v1/files", files=files, headers=ben)).json()["id"]
    assert (await put(ann, "ben", ["user"])).status_code == 200
    assert outcome(await client.delete(f"/api/v1/files/{cys}", headers=ben)) == (404, "file_not_found")
    assert (await client.delete(member("ben"), headers=ann)).status_code == 204
    for file in (cys, bens):
        assert outcome(await client.delete(f"/api/v1/files/{file}", headers=ben)) == ENDED
        assert (await client.get(f"/api/v1/files/{file}/content", headers=ann)).content == b"words"
    assert (await client.delete(f"/api/v1/files/{cys}", headers=ann)).status_code == 204


async def test_a_former_operator_changes_no_tenant(
    client: httpx2.AsyncClient, database: Database, acme_path: str, put: Put, operator: dict[str, str]
) -> None:
    await set_operator(database, "operations", "ops", operator=False)
    for reply in [
        await client.patch(acme_path, json={"status": "suspended"}, headers=operator),
        await put(operator, "cy", ["admin"]),
    ]:
        assert outcome(reply) == LACKS


async def test_a_token_grants_only_roles_whose_scopes_it_holds(
    database: Database, as_user: People, put: Put, ann: dict[str, str]
) -> None:
    narrow = as_user("ann", roles=["admin"], scopes=["tenant:write"])
    users = as_user("ann", roles=["admin"], scopes=[*as_user.principal("ann").scopes, "tenant:write"])
    assert outcome(await put(narrow, "cy", ["user"])) == LACKS
    assert outcome(await put(users, "cy", ["admin"])) == LACKS
    assert outcome(await put(users, "cy", ["user", "moderator"])) == LACKS
    assert (await states(database, as_user))["cy"] == ("active", ["user"])
    assert (await put(users, "cy", ["user"])).status_code == 200


async def test_admins_who_demote_each_other_at_once_leave_one(
    database: Database, as_user: People, put: Put, ann: dict[str, str], ben: dict[str, str]
) -> None:
    replies = await asyncio.gather(put(ann, "ben", ["user"]), put(ben, "ann", ["user"]))
    assert sorted(outcome(reply) for reply in replies) == [(200, None), LACKS]
    found = await states(database, as_user)
    assert sorted([found["ann"][1], found["ben"][1]]) == [["admin"], ["user"]]


@pytest.mark.parametrize("write", ["grant", "delete a file"])
async def test_a_removal_that_commits_while_a_write_waits_refuses_it(
    client: httpx2.AsyncClient, database: Database, as_user: People, put: Put, ben: dict[str, str], write: str
) -> None:
    files = {"file": ("a.txt", b"words")}
    file = (await client.post("/api/v1/files", files=files, headers=ben)).json()["id"]
    async with database.transaction(as_user.tenant_id("acme")) as removal:
        await lock_tenant(removal, as_user.tenant_id("acme"))
        membership = await removal.get_one(Membership, (as_user.tenant_id("acme"), as_user.id("ben")))
        membership.status = "ended"
        await removal.flush()
        calls = {
            "grant": lambda: put(ben, "cy", ["admin"]),
            "delete a file": lambda: client.delete(f"/api/v1/files/{file}", headers=ben),
        }
        writing = asyncio.ensure_future(calls[write]())
        await eventually(lambda: someone_waits(database), within_s=10, saying="the write waits for the removal")
    assert outcome(await writing) == ENDED


async def test_operators_who_remove_each_other_across_tenants_do_not_deadlock(
    client: httpx2.AsyncClient,
    database: Database,
    as_user: People,
    register: Register,
    member: Callable[..., str],
    put: Put,
    ann: dict[str, str],
) -> None:
    gil = as_user("gil", tenant="globex", roles=["admin"])
    homes = {"cy": "acme", "dee": "globex"}
    await register("dee")
    operators = {name: as_user(name, tenant=home, roles=["system", "user"]) for name, home in homes.items()}
    for _ in range(5):
        for name, home in homes.items():
            await put(ann if home == "acme" else gil, name, ["user"], home)
            accept = f"/internal/memberships/{as_user.tenant_id(home)}/{as_user.id(name)}/accept"
            assert (await client.post(accept, headers=as_user.service("auth"))).status_code == 200
            await set_operator(database, home, name, operator=True)
        replies = await asyncio.gather(
            client.delete(member("dee", "globex"), headers=operators["cy"]),
            client.delete(member("cy", "acme"), headers=operators["dee"]),
        )
        assert sorted(outcome(reply) for reply in replies) == [(204, None), ENDED]


async def someone_waits(database: Database) -> bool:
    """Whether a session of this database waits for another one's lock."""
    asked = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
    async with database.transaction() as db:
        return bool((await db.execute(text(asked))).scalar_one())
