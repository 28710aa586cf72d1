"""auth-service on a real socket over PostgreSQL and Valkey, beside a fake of users-service."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from auth_service.app import service as auth
from auth_service.keyring import generate_root
from shared.app import Service
from shared.data.database import Database
from shared.settings import ServiceSettings
from shared.testing import People
from shared.testing.fakes import FakeUsers
from shared.testing.smtp_script import smtp_script

from .door import Door
from .mailbox import Mailbox

pytest_plugins = ["shared.testing.plugin"]


@pytest.fixture(scope="session")
def service() -> Service:
    return auth


@pytest.fixture
async def users(as_user: People) -> AsyncIterator[FakeUsers]:
    """users-service, which knows nothing but an empty default tenant."""
    async with FakeUsers(as_user).serving() as fake:
        fake.add_tenant("default")
        yield fake


@pytest.fixture(scope="session")
def encryption_key() -> str:
    return generate_root()


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    """The mail server of the tests, and what arrived there."""
    async with smtp_script() as script:
        yield Mailbox(script)


@pytest.fixture
def settings_values(
    settings_values: dict[str, Any], users: FakeUsers, encryption_key: str, mailbox: Mailbox
) -> dict[str, Any]:
    """Hashing that costs next to nothing: what it costs in earnest is a setting."""
    return settings_values | {
        "services": {"users": users.url},
        "keys": {"encryption_key": encryption_key},
        "passwords": {"time_cost": 1, "memory_kib": 8, "parallelism": 1},
        "cors": {"origins": ["https://console.example"]},
        "smtp": {"port": mailbox.script.port},
    }


@pytest.fixture
async def database(settings: ServiceSettings) -> AsyncIterator[Database]:
    """The service's own database, to see what it says and to let time pass in it."""
    opened = Database(settings)
    yield opened
    await opened.close()


@pytest.fixture
def door(client: httpx2.AsyncClient, as_user: People, database: Database, app: FastAPI) -> Door:
    """Goes through the public paths as clients do behind the gateway."""
    return Door(client, as_user, database)
