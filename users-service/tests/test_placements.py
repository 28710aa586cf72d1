"""Tenants whose content has a home of its own: requests do not notice, and moves lose nothing."""

import asyncio
import os
import random
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.data import migrations, revisions
from shared.data.database import Database
from shared.data.placement.models import home_of_its_own, placed_tables
from shared.data.placement.move import Moved, MoveFailed, Owner, move
from shared.data.policies import catalogue_errors
from shared.problems import ServiceUnavailable
from shared.testing import People, eventually
from shared.testing.commands import Commands
from shared.testing.processes import environment
from users_service.app import service as users

from .test_schema import FLEET_TABLES

Mover = Callable[..., Awaitable[Moved]]


@pytest.fixture
def owner(postgres_admin_url: str, database_name: str) -> Owner:
    return Owner(postgres_admin_url, database_name, "users", users.migrations)


@pytest.fixture
def moved(owner: Owner, as_user: People) -> Mover:
    """`await moved("acme", own_schema=True)` moves a tenant."""

    async def call(slug: str, *, own_schema: bool, grace_s: float = 0, **options: Any) -> Moved:
        return await move(owner, as_user.tenant_id(slug), own_schema=own_schema, grace_s=grace_s, **options)

    return call


async def _rows(owner: Owner, home: str, table: str) -> int:
    async with owner.connection() as connection:
        return int(await connection.fetchval(f'SELECT count(*) FROM "{home}".{table}'))  # noqa: S608 - of this test


async def _upload(client: httpx2.AsyncClient, headers: dict[str, str], name: str) -> httpx2.Response:
    return await client.post("/api/v1/files", files={"file": (name, b"text", "text/plain")}, headers=headers)


async def test_a_move_there_and_back_changes_nothing(
    client: httpx2.AsyncClient, as_user: People, acme: None, globex: None, moved: Mover, owner: Owner
) -> None:
    ann, gil = as_user("ann"), as_user("gil", tenant="globex")
    await client.patch("/api/v1/profile", json={"bio": "Sails."}, headers=ann)
    file = (await _upload(client, ann, "one.txt")).json()
    other = (await _upload(client, gil, "two.txt")).json()
    paths = ["/api/v1/profile", "/api/v1/users", "/api/v1/files", f"/api/v1/files/{file['id']}/content"]

    async def seen() -> list[bytes]:
        return [(await client.get(path, headers=ann)).content for path in paths]

    before = await seen()
    own = home_of_its_own(as_user.tenant_id("acme"))

    assert (await moved("acme", own_schema=True)).home == own
    assert await seen() == before
    assert [await _rows(owner, home, "profiles") for home in (own, "public")] == [2, 1]
    assert [await _rows(owner, home, "files") for home in (own, "public")] == [1, 1]
    second = await _upload(client, ann, "three.txt")
    assert second.status_code == 201
    assert (await client.delete(f"/api/v1/files/{second.json()['id']}", headers=ann)).status_code == 204
    assert (await client.get(f"/api/v1/files/{other['id']}", headers=ann)).status_code == 404
    assert (await client.get(f"/api/v1/files/{file['id']}", headers=gil)).status_code == 404
    assert (await client.get(f"/api/v1/files/{other['id']}", headers=gil)).status_code == 200
    assert await seen() == before

    assert (await moved("acme", own_schema=False)).home == "public"
    assert await seen() == before
    assert await _rows(owner, "public", "profiles") == 3
    async with owner.connection() as connection:
        assert not await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", own)
        assert await connection.fetchval("SELECT count(*) FROM placement_changes") == 0


async def test_new_members_of_a_moved_tenant_have_their_profile_there(
    client: httpx2.AsyncClient, as_user: People, register: Any, acme: None, moved: Mover, owner: Owner
) -> None:
    await moved("acme", own_schema=True)
    await register("cy")
    assert (await client.get("/api/v1/profile", headers=as_user("cy"))).json()["username"] == "cy"
    assert [
        await _rows(owner, home, "profiles") for home in (home_of_its_own(as_user.tenant_id("acme")), "public")
    ] == [
        3,
        0,
    ]


async def test_no_write_is_lost_while_a_tenant_moves(
    client: httpx2.AsyncClient, as_user: People, acme: None, moved: Mover
) -> None:
    """Writers that are answered 503 have changed nothing; each that is answered 2xx is found afterwards."""
    ann, bob = as_user("ann"), as_user("bob")
    stored: dict[str, str] = {}
    bios: list[str] = []
    ends = asyncio.Event()

    async def files() -> None:
        number = 0
        while not ends.is_set():
            number += 1
            reply = await _upload(client, ann, f"{number}.txt")
            assert reply.status_code in (201, 503), reply.text
            if reply.status_code == 201:
                stored[reply.json()["id"]] = reply.json()["name"]
            if number % 3 == 0 and stored:
                gone = next(iter(stored))
                reply = await client.delete(f"/api/v1/files/{gone}", headers=ann)
                assert reply.status_code in (204, 503), reply.text
                if reply.status_code == 204:
                    del stored[gone]

    async def profile() -> None:
        while not ends.is_set():
            bio = f"Number {len(bios)}."
            reply = await client.patch("/api/v1/profile", json={"bio": bio}, headers=bob)
            assert reply.status_code in (200, 503), reply.text
            if reply.status_code == 200:
                bios.append(bio)
            seen = await client.get("/api/v1/profile", headers=bob)
            assert (seen.status_code, seen.json()["bio"]) == (200, bios[-1] if bios else None)

    writers = [asyncio.create_task(files()), asyncio.create_task(profile())]
    try:
        for own_schema in (True, False, True):
            before = len(stored) + len(bios)
            await moved("acme", own_schema=own_schema, grace_s=0.5)
            await eventually(lambda before=before: len(bios) + len(stored) > before + 2 or writers[0].done())
    finally:
        ends.set()
        await asyncio.gather(*writers)
    listed = (await client.get("/api/v1/files?limit=200", headers=ann)).json()["items"]
    assert {item["id"]: item["name"] for item in listed} == stored
    assert (await client.get("/api/v1/profile", headers=bob)).json()["bio"] == bios[-1]


async def test_a_move_that_was_killed_goes_on(
    client: httpx2.AsyncClient, as_user: People, acme: None, moved: Mover, owner: Owner
) -> None:
    """In each phase: while rows are copied, and when old ones are left to remove."""
    ann = as_user("ann")
    own = home_of_its_own(as_user.tenant_id("acme"))

    def broken_off(_table: str, _done: int, _total: int) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await moved("acme", own_schema=True, progress=broken_off)
    await client.patch("/api/v1/profile", json={"bio": "Written meanwhile."}, headers=ann)
    cleaning = asyncio.create_task(moved("acme", own_schema=True, grace_s=60))

    async def home() -> Any:
        async with owner.connection() as connection:
            return await connection.fetchval("SELECT home FROM placements")

    async def has_moved() -> bool:
        return await home() == own

    await eventually(has_moved, saying="the tenant has its new home")
    cleaning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cleaning
    assert await _rows(owner, "public", "profiles") == 2
    assert (await client.get("/api/v1/profile", headers=ann)).json()["bio"] == "Written meanwhile."
    assert (await moved("acme", own_schema=True)).home == own
    assert [await _rows(owner, home, "profiles") for home in (own, "public")] == [2, 0]


async def test_a_move_that_was_broken_off_is_undone_by_moving_back(
    as_user: People, acme: None, moved: Mover, owner: Owner
) -> None:
    def broken_off(_table: str, _done: int, _total: int) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await moved("acme", own_schema=True, progress=broken_off)
    assert (await moved("acme", own_schema=False)).home == "public"
    async with owner.connection() as connection:
        own = home_of_its_own(as_user.tenant_id("acme"))
        assert not await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", own)
        assert await connection.fetchval("SELECT phase FROM placements") is None


async def test_two_moves_of_one_tenant_do_not_run_at_once(acme: None, moved: Mover, owner: Owner) -> None:
    first = asyncio.create_task(moved("acme", own_schema=True, grace_s=2))

    async def begun() -> bool:
        async with owner.connection() as connection:
            return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM placements)"))

    await eventually(begun)
    with pytest.raises(MoveFailed, match="Another move"):
        await moved("acme", own_schema=False)
    assert (await first).home != "public"


async def test_a_tenant_sees_nothing_of_another_schema(
    as_user: People, acme: None, globex: None, moved: Mover, database: Database
) -> None:
    """Row-level security is in force there too: for another tenant, and for a session without one."""
    await moved("acme", own_schema=True)
    own = home_of_its_own(as_user.tenant_id("acme"))
    change = text(f"UPDATE {own}.profiles SET bio = 'x'")  # noqa: S608 - of this test
    for tenant_id in (None, as_user.tenant_id("globex")):
        async with database.transaction(tenant_id) as db:
            assert await db.scalar(text(f"SELECT count(*) FROM {own}.profiles")) == 0  # noqa: S608 - as above
    async with database.transaction() as db:
        assert (await db.execute(change)).rowcount == 0  # type: ignore[attr-defined]  # an UPDATE's result has it
    with pytest.raises(ServiceUnavailable):
        async with database.transaction(as_user.tenant_id("globex")) as db:
            await db.execute(change)
    async with database.transaction(as_user.tenant_id("acme")) as db:
        assert await db.scalar(text("SELECT count(*) FROM profiles")) == 2


async def test_every_table_of_a_schema_is_secured_and_like_the_shared_one(
    acme: None, moved: Mover, owner: Owner, as_user: People
) -> None:
    await moved("acme", own_schema=True)
    own = home_of_its_own(as_user.tenant_id("acme"))
    engine = migrations.owner_engine(owner.url, owner.database, "users")
    async with engine.connect() as connection:
        assert await catalogue_errors(connection, "users", FLEET_TABLES) == []
        tables = [table.name for table in placed_tables()]
        shapes = [await _shape(connection, home, tables) for home in (own, "public")]
    await engine.dispose()
    assert shapes[0] == shapes[1]


async def _shape(connection: AsyncConnection, home: str, tables: list[str]) -> list[tuple[Any, ...]]:
    """Columns, indexes and constraints of the tables, without the name of the schema."""
    asked = text("""
        SELECT table_name AS name, 'column' AS kind,
               column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '') AS shape
        FROM information_schema.columns WHERE table_schema = :home AND table_name = ANY(:tables)
        UNION ALL
        SELECT tablename, 'index', replace(indexdef, quote_ident(:home) || '.', '') FROM pg_indexes
        WHERE schemaname = :home AND tablename = ANY(:tables)
        UNION ALL
        SELECT relname, 'constraint',
               conname || ' ' || replace(pg_get_constraintdef(pg_constraint.oid), quote_ident(:home) || '.', '')
        FROM pg_constraint JOIN pg_class ON conrelid = pg_class.oid
        WHERE connamespace = to_regnamespace(:home) AND relname = ANY(:tables)
        ORDER BY 1, 2, 3
    """)
    return [tuple(row) for row in await connection.execute(asked, {"home": home, "tables": tables})]


async def test_the_command_moves_a_tenant_but_none_that_is_being_deleted(
    acme: None, owner: Owner, settings_values: dict[str, Any], commands: Commands, database: Database, as_user: People
) -> None:
    settings = environment(settings_values | {"database_owner_url": owner.url})
    settings["DATABASE__STATEMENT_TIMEOUT_S"] = "0.5"  # old rows are kept for no longer than a statement may take

    async def moves(slug: str) -> tuple[int, str]:
        status, out, err = await commands.run("tenants", "move", slug, "--to", "schema", environment=settings)
        return status, out + err

    status, said = await moves("acme")
    assert (status, home_of_its_own(as_user.tenant_id("acme")) in said) == (0, True), said
    status, said = await moves("nowhere")
    assert (status, said) == (1, "There is no tenant with this slug.\n")
    async with database.transaction(as_user.tenant_id("acme")) as db:
        await db.execute(text("UPDATE tenants SET erase_at = now() + interval '1 day'"))
    status, said = await moves("acme")
    assert (status, "being deleted" in said) == (1, True), said


@pytest.fixture
def newer(owner: Owner, tmp_path: Path) -> Owner:
    """The database as a later release sees it: with one more migration, which adds a column."""
    folder = tmp_path / "migrations"
    shutil.copytree(owner.migrations, folder)
    (folder / "versions" / "9999_shoe_size.py").write_text(
        f"from alembic import op\nrevision = '9999'\ndown_revision = '{revisions.head(owner.migrations)}'\n"
        "def upgrade():\n    op.execute('ALTER TABLE profiles ADD COLUMN shoe_size int')\n"
    )
    return replace(owner, migrations=folder)


async def test_migrations_reach_every_schema(acme: None, moved: Mover, newer: Owner, as_user: People) -> None:
    await moved("acme", own_schema=True)
    own = home_of_its_own(as_user.tenant_id("acme"))
    await migrations.upgrade(newer.url, newer.database, newer.service, newer.migrations)
    async with newer.connection() as connection:
        for home in (own, "public"):
            assert await connection.fetchval(f"SELECT version_num FROM {home}.alembic_version") == "9999"  # noqa: S608
            await connection.execute(f"SELECT shoe_size FROM {home}.profiles")  # noqa: S608 - of this test


async def test_a_schema_that_cannot_be_migrated_is_named(
    acme: None, moved: Mover, newer: Owner, as_user: People
) -> None:
    """The shared tables and the other schemas are migrated all the same."""
    await moved("acme", own_schema=True)
    own = home_of_its_own(as_user.tenant_id("acme"))
    async with newer.connection() as connection:
        await connection.execute(f"ALTER TABLE {own}.profiles ADD COLUMN shoe_size text")
    with pytest.raises(revisions.TenantsNotMigrated, match=own):
        await migrations.upgrade(newer.url, newer.database, newer.service, newer.migrations)
    async with newer.connection() as connection:
        assert await connection.fetchval("SELECT version_num FROM alembic_version") == "9999"


@pytest.mark.long
async def test_a_large_tenant_moves_under_load_and_survives_kills(
    client: httpx2.AsyncClient,
    as_user: People,
    acme: None,
    owner: Owner,
    settings_values: dict[str, Any],
) -> None:
    """100,000 rows, 50 writes a second, and the command killed at five moments."""
    await _fill(owner, as_user, 100_000)
    load = _Load(client, as_user)
    writers = [asyncio.create_task(load.write(number)) for number in range(5)]
    chosen = random.Random(7)
    settings = environment(
        settings_values
        | {"database_owner_url": owner.url, "database": {**settings_values["database"], "statement_timeout_s": 1}}
    )
    try:
        for home, kills in (("schema", 3), ("row", 2)):
            for _ in range(kills):
                process = await _command(settings, "tenants", "move", "acme", "--to", home)
                await asyncio.sleep(chosen.uniform(1, 6))  # the moment of the kill, not a wait for something
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            process = await _command(settings, "tenants", "move", "acme", "--to", home)
            output = (await process.communicate())[0].decode()
            assert process.returncode == 0, output
    finally:
        load.ends.set()
        await asyncio.gather(*writers)
    assert load.written > 100
    assert load.longest_wait_s < 5
    assert await load.found() == load.stored


async def _fill(owner: Owner, as_user: People, files: int) -> None:
    async with owner.connection() as connection:
        await connection.execute(
            "INSERT INTO files (tenant_id, id, owner_id, name, content_type, size_bytes, sha256)"
            " SELECT $1, gen_random_uuid(), $2, 'file ' || number, 'text/plain', number, md5(number::text)"
            " FROM generate_series(1, $3) number",
            *(as_user.tenant_id("acme"), as_user.id("cy"), files),
        )


async def _command(settings: dict[str, str], *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "users_service", *arguments),
        env={**os.environ, **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


@dataclass
class _Load:
    """Writers that repeat what was answered 503, and remember all that was answered otherwise."""

    client: httpx2.AsyncClient
    as_user: People
    ends: asyncio.Event = field(default_factory=asyncio.Event)
    stored: dict[str, str] = field(default_factory=dict)
    written: int = 0
    longest_wait_s: float = 0

    async def write(self, writer: int) -> None:
        number = 0
        while not self.ends.is_set():
            number += 1
            await self._once(f"{writer}-{number}.txt")
            await asyncio.sleep(0.1)  # the pace of the load

    async def _once(self, name: str) -> None:
        began = time.monotonic()

        async def answered() -> httpx2.Response | None:
            reply = await _upload(self.client, self.as_user("ann"), name)
            return None if reply.status_code == 503 else reply

        reply = await eventually(answered, every_s=0.1)
        assert reply is not None
        assert reply.status_code == 201, reply.text
        self.longest_wait_s = max(self.longest_wait_s, time.monotonic() - began)
        self.stored[reply.json()["id"]] = name
        self.written += 1

    async def found(self) -> dict[str, str]:
        """All files of ann, by id."""
        found: dict[str, str] = {}
        cursor = ""
        while True:
            page = (await self.client.get(f"/api/v1/files?limit=200{cursor}", headers=self.as_user("ann"))).json()
            found |= {item["id"]: item["name"] for item in page["items"]}
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"
