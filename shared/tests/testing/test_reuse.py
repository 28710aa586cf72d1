"""Tests that share one process of their service find it as new, or get one of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from shared.testing import Served
from shared.testing.databases import Template, execute
from shared.testing.reuse import ReusedProcess
from shared.web.health import HealthChecks

SERVED_AT: set[str] = set()
"""Where the tests that share have met their process."""


class Remembered:
    """Something that a test replaces in its process."""


@pytest.fixture(scope="session")
def reuses_process() -> bool:
    return True


async def notes(template: Template, database: str) -> list[int]:
    async with connected(template, database) as connection:
        return [row["id"] for row in await connection.fetch("SELECT id FROM notes")]


@asynccontextmanager
async def connected(template: Template, database: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    url = make_url(template.admin_url).set(drivername="postgresql", database=database)
    connection = await asyncpg.connect(url.render_as_string(hide_password=False))
    yield connection
    await connection.close()


@pytest.mark.parametrize("attempt", [1, 2])
async def test_a_process_is_found_as_new(template: Template, served: Served, database_name: str, attempt: int) -> None:
    SERVED_AT.add(served.url)
    assert len(SERVED_AT) == 1
    assert await notes(template, database_name) == []
    async with connected(template, database_name) as connection:
        await connection.execute("INSERT INTO notes VALUES ($1)", attempt)
    assert served.resources.find(Remembered) is None
    served.resources.add(Remembered())


@pytest.mark.own_process
async def test_a_marked_test_has_its_own(template: Template, served: Served, database_name: str) -> None:
    assert served.url not in SERVED_AT
    assert await notes(template, database_name) == []


class TestOtherSettings:
    @pytest.fixture
    def settings_values(self, settings_values: dict[str, Any]) -> dict[str, Any]:
        return settings_values | {"redis_url": None}

    async def test_they_need_a_process_of_their_own(self, served: Served) -> None:
        assert served.url not in SERVED_AT


async def test_without_a_process_a_database_is_the_tests_alone(
    reused_process: ReusedProcess, database_name: str
) -> None:
    assert database_name != await reused_process.database_name()


@pytest.fixture
async def process(service: Any, template: Template) -> AsyncIterator[ReusedProcess]:
    opened = ReusedProcess(service, template, lambda resources: None)
    yield opened
    await opened.close()


async def opened(process: ReusedProcess, settings_values: dict[str, Any]) -> Served:
    await process.database_name()
    return await process.served(process.app(process.settings(settings_values, dict)))


async def test_other_values_are_an_error_and_not_ignored(
    process: ReusedProcess, settings_values: dict[str, Any]
) -> None:
    await opened(process, settings_values)
    with pytest.raises(AssertionError, match="own_process"):
        await opened(process, settings_values | {"redis_url": None})


async def test_a_process_that_drains_is_an_error_and_not_used_again(
    process: ReusedProcess, settings_values: dict[str, Any]
) -> None:
    before = await opened(process, settings_values)
    before.resources.get(HealthChecks).drain()
    with pytest.raises(AssertionError, match="drains"):
        await process.reset()
    after = await opened(process, settings_values)
    assert not after.resources.get(HealthChecks).draining
    await process.reset()


async def test_rows_of_the_template_come_back_whatever_guards_them(template: Template) -> None:
    guard = """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'append-only'; END $$;
        CREATE TRIGGER guard BEFORE DELETE OR UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION refuse();
        CREATE TABLE remarks (note integer REFERENCES notes (id));
        INSERT INTO notes VALUES (1);
        INSERT INTO remarks VALUES (1);
    """
    async with template.cloned() as name:
        await execute(template.admin_url, guard, database=name)
        async with template.rows(name) as rows, connected(template, name) as other:
            await execute(template.admin_url, "INSERT INTO notes VALUES (2)", "DELETE FROM remarks", database=name)
            async with other.transaction():
                await other.execute("INSERT INTO notes VALUES (3)")
                assert not await rows.restore()
            assert await rows.restore()
            assert await notes(template, name) == [1]
            assert await other.fetchval("SELECT note FROM remarks") == 1
