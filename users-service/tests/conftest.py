"""users-service on a real socket over PostgreSQL, its files in a folder of the test's own."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from shared.app import Service
from shared.data.database import Database
from shared.events.models import OutboxRow
from shared.resources import Resources
from shared.testing import People
from shared.testing.fakes import FakeAuth
from users_service.app import service as users
from users_service.members.commands import set_operator

from .calls import Published, Register

pytest_plugins = ["shared.testing.plugin"]

ADMIN = ["admin"]


@pytest.fixture(scope="session")
def service() -> Service:
    return users


@pytest.fixture
def storage_folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
async def auth(as_user: People) -> AsyncIterator[FakeAuth]:
    """auth-service, which mails invitations and knows whose addresses are verified."""
    async with FakeAuth(as_user).serving() as fake:
        yield fake


@pytest.fixture
def settings_values(settings_values: dict[str, Any], storage_folder: Path, auth: FakeAuth) -> dict[str, Any]:
    """Small limits, so that tests pass them quickly; people without a tenant join `acme` where it is there."""
    return settings_values | {
        "services": {"auth": auth.url},
        "storage_url": storage_folder.as_uri(),
        "default_tenant": "acme",
        "files": {"max_bytes": 3 * 1024 * 1024, "upload_idle_s": 1.0, "sweep_interval_s": 0.3},
    }


@pytest.fixture
def register(client: httpx2.AsyncClient, as_user: People) -> Register:
    """Registers someone as auth-service does: `await register("ann", tenant="acme")` makes the tenant too."""

    async def call(name: str, *, tenant: str | None = None, **more: Any) -> dict[str, Any]:
        new = {"id": str(as_user.tenant_id(tenant)), "name": tenant.title(), "slug": tenant} if tenant else None
        reply = await client.put(
            f"/internal/registrations/{as_user.id(name)}",
            json={"username": name, "tenant": new, **more},
            headers=as_user.service("auth"),
        )
        assert reply.status_code == 200, reply.text
        answer: dict[str, Any] = reply.json()
        return answer

    return call


@pytest.fixture
async def acme(register: Register) -> None:
    """The tenant acme with its admin ann and its member bob."""
    await register("ann", tenant="acme")
    await register("bob")


@pytest.fixture
async def globex(register: Register) -> None:
    """Another tenant with its admin gil."""
    await register("gil", tenant="globex")


@pytest.fixture
def database(resources: Resources) -> Database:
    """The running service's database."""
    return resources.get(Database)


@pytest.fixture
async def operator(database: Database, register: Register, as_user: People) -> dict[str, str]:
    """Headers of ops, an operator of the fleet, whose own tenant is `operations`."""
    await register("ops", tenant="operations")
    await set_operator(database, "operations", "ops", operator=True)
    return as_user("ops", tenant="operations", roles=["admin", "system"])


@pytest.fixture
def published(database: Database) -> Published:
    """Reads what the service has published, in order: `await published()`; of some types: `published("tenant.")`."""

    async def read(prefix: str = "") -> list[OutboxRow]:
        async with database.transaction() as db:
            rows = await db.scalars(select(OutboxRow).order_by(OutboxRow.id))
            return [row for row in rows if row.type.startswith(prefix)]

    return read
