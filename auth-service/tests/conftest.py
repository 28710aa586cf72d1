"""auth-service on a real socket over PostgreSQL and Valkey, beside a users-service that is made of memory."""

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
from shared.testing import People, running

from .door import Door
from .fake_users import FakeUsers

pytest_plugins = ["shared.testing.plugin"]


@pytest.fixture(scope="session")
def service() -> Service:
    return auth


@pytest.fixture
def users() -> FakeUsers:
    """What users-service knows: nothing but an empty default tenant."""
    made = FakeUsers()
    made.add_tenant("default")
    return made


@pytest.fixture
async def users_url(users: FakeUsers) -> AsyncIterator[str]:
    async with running(users.app) as url:
        yield url


@pytest.fixture(scope="session")
def encryption_key() -> str:
    return generate_root()


@pytest.fixture
def settings_values(settings_values: dict[str, Any], users_url: str, encryption_key: str) -> dict[str, Any]:
    """Hashing that costs next to nothing: what it costs in earnest is a setting."""
    return settings_values | {
        "services": {"users": users_url},
        "keys": {"encryption_key": encryption_key},
        "passwords": {"time_cost": 1, "memory_kib": 8, "parallelism": 1},
        "cors": {"origins": ["https://console.example"]},
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
