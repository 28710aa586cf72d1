"""What the process refuses to run on: started as production starts it, over the database of a development."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from shared.data.database import Database
from shared.data.production_checks import reasons
from shared.dev.demo.demo_tenant import Demo
from shared.dev.launcher.data_folder import DataFolder
from shared.resources import Resources
from shared.settings import Environment, ServiceSettings
from shared.testing import People
from users_service.app import service as users
from users_service.settings import UsersSettings
from users_service.tenants.demo_tenant import is_demo

from .calls import Register

FIT = {
    "ENVIRONMENT": "production",
    "PUBLIC_URL": "https://flotilla.example",
    "STORAGE_URL": "file:///nowhere",
    "SERVICES__AUTH": "http://127.0.0.1:9",
    "BUS_ALLOW_VALKEY": "true",
}


@pytest.fixture
def environment(settings_values: dict[str, Any]) -> dict[str, str]:
    """The test's own database, for a process apart."""
    named = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    identity = settings_values["identity"]
    return named | FIT | {
        "DATABASE_URL": settings_values["database_url"],
        "DATABASE__NAME": settings_values["database"]["name"],
        "BUS_URL": settings_values["bus_url"],
        "IDENTITY__KEY_FILE": str(identity["key_file"]),
        "IDENTITY__TRUST_FILE": str(identity["trust_file"]),
    }  # fmt: skip


async def refusal(environment: dict[str, str], folder: Path) -> tuple[int | None, str]:
    """How `serve` ends with these settings, and what it says of it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "users_service", "serve", "--port", "0",
        env=environment, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        _, said = await asyncio.wait_for(process.communicate(), 90)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, said.decode()


async def test_production_refuses_the_demo_tenant_and_says_all_reasons_at_once(
    register: Register, environment: dict[str, str], postgres_admin_url: str, tmp_path: Path
) -> None:
    await register("ann", tenant="demo")
    status, said = await refusal(environment, tmp_path)
    assert status == 2, said
    assert "The demo tenant demo is in the database" in said
    assert "`db create` and `migrate`" in said
    assert "Traceback" not in said
    worse = {"PUBLIC_URL": "http://flotilla.example", "DATABASE_URL": postgres_admin_url}
    status, said = await refusal(environment | worse, tmp_path)
    assert status == 2, said
    assert "requires https" in said
    assert "The demo tenant demo is in the database" in said
    assert "The login of DATABASE_URL owns tables or bypasses row-level security" in said


async def test_a_database_without_it_is_fit(register: Register, settings: ServiceSettings, database: Database) -> None:
    await register("ann", tenant="demonstration")
    guarded = settings.model_copy(update={"environment": Environment.PRODUCTION})
    assert await reasons(database, users.migrations, users.refusals(guarded)) == []
    await register("bob", tenant="demo-1f2e")
    assert len(await reasons(database, users.migrations, users.refusals(guarded))) == 1
    assert await reasons(database, users.migrations, users.refusals(settings)) == []


@pytest.mark.parametrize("away", [{"database": {"name": "nowhere"}}, {"database_url": "postgresql://a:b@127.0.0.1:9"}])
async def test_a_database_that_cannot_be_asked_stops_nobody(settings_values: dict[str, Any], away: Any) -> None:
    settings = users.settings(_env_file=None, **settings_values | away)
    database = Database(settings)
    assert await reasons(database, users.migrations, users.refusals(settings)) == []
    await database.close()


def test_the_slugs_are_those_that_the_launcher_seeds(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    folder.make()
    assert is_demo(Demo.of(folder).tenant)
    assert [is_demo(slug) for slug in ("demo-0a1b", "demos", "demo-team", "ademo", "demo\n")] == [True, *[False] * 4]


async def test_outside_of_development_nobody_gets_its_slug(
    resources: Resources, client: httpx2.AsyncClient, settings: ServiceSettings, as_user: People
) -> None:
    resources.add(settings.model_copy(update={"environment": Environment.PRODUCTION}), UsersSettings)
    new = {"id": str(as_user.tenant_id("demo")), "name": "Demo", "slug": "demo"}
    reply = await client.put(
        f"/internal/registrations/{as_user.id('ann')}",
        json={"username": "ann", "tenant": new},
        headers=as_user.service("auth"),
    )
    assert (reply.status_code, reply.json()["code"]) == (422, "slug_reserved")
