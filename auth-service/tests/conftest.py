"""auth-service on a real socket over PostgreSQL and Valkey, beside a fake of users-service."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from auth_service.app import service as auth
from auth_service.identity_providers.issuers import Issuers
from auth_service.keyring import Keyring, generate_root
from auth_service.settings import AuthSettings, KeySettings
from auth_service.signing_keys import service as signing_keys
from auth_service.signing_keys.active_key import ActiveKey
from shared.app import Service
from shared.data.database import Database
from shared.outbound import Outbound
from shared.resources import Resources
from shared.settings import ServiceSettings
from shared.testing import People
from shared.testing.databases import Template
from shared.testing.fakes import FakeUsers
from shared.testing.reuse import Forget, ReusedProcess
from shared.testing.running import Place, place
from shared.testing.smtp_script import SmtpServer, smtp_server

from .door import Door
from .issuer import Browser, Issuer, browsing, issuing
from .mailbox import Mailbox

pytest_plugins = ["shared.testing.plugin"]


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """It looks often for what other processes have queued: a test would wait 5 s for each mail of a command."""
    with pytest.MonkeyPatch.context() as patch:
        for sender in ("mails", "backchannel_logout"):
            patch.setattr(f"auth_service.{sender}.sender._POLL_S", 0.2)
        yield auth


@pytest.fixture(scope="session")
def reuses_process() -> bool:
    return True


@pytest.fixture(scope="session")
def forget() -> Forget:
    """Issuers are remembered by their URL, and the port of a test's issuer may be another one's later."""
    first: list[str] = []

    def call(resources: Resources) -> None:
        resources.add(Issuers(resources.get(Outbound)))
        keys = resources.get(ActiveKey)
        kids = [keys.key.kid, keys.id_token_key.kid]
        first.extend(kids if not first else [])
        assert kids == first, "a test that rotates the signing keys is marked with own_process"

    return call


@pytest.fixture(scope="session")
async def users_place() -> AsyncIterator[Place]:
    async with place() as opened:
        yield opened


@pytest.fixture
def users(as_user: People, users_place: Place) -> Iterator[FakeUsers]:
    """users-service, which knows nothing but an empty default tenant."""
    with FakeUsers(as_user).serving_at(users_place) as fake:
        fake.add_tenant("default")
        yield fake


@pytest.fixture(scope="session")
def encryption_key() -> str:
    return generate_root()


@pytest.fixture(scope="session")
async def template(template: Template, encryption_key: str) -> Template:
    """With signing keys in it: two RSA keys for each test would cost more than the tests."""
    values: dict[str, Any] = {
        "environment": "testing",
        "database_url": template.app_url,
        "database": {"name": template.name},
    }
    database = Database(AuthSettings(_env_file=None, **values))
    async with database.transaction() as db:
        await signing_keys.ensure(db, Keyring.load(KeySettings(encryption_key=SecretStr(encryption_key))))
    await database.close()
    return template


@pytest.fixture(scope="session")
async def mail_server() -> AsyncIterator[SmtpServer]:
    async with smtp_server() as opened:
        yield opened


@pytest.fixture
def mailbox(mail_server: SmtpServer) -> Mailbox:
    """The mail server of the tests, and what arrived there."""
    return Mailbox(mail_server.play())


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
async def database(settings: ServiceSettings, reused: ReusedProcess | None) -> AsyncIterator[Database]:
    """The service's own database, to see what it says and to let time pass in it."""
    if reused is not None:
        yield await reused.database(settings)
    else:
        opened = Database(settings)
        yield opened
        await opened.close()


@pytest.fixture
def door(client: httpx2.AsyncClient, as_user: People, database: Database, app: FastAPI) -> Door:
    """Goes through the public paths as clients do behind the gateway."""
    return Door(client, as_user, database)


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with issuing() as found:
        yield found


@pytest.fixture
async def browser(base_url: str) -> AsyncIterator[Browser]:
    async with browsing(base_url) as found:
        yield found


@pytest.fixture
async def root(door: Door, users: FakeUsers) -> dict[str, str]:
    """The headers of an operator of the fleet, who is also an admin of the tenant acme."""
    await door.signed_up("root", slug="acme")
    account = (await door.rows("SELECT id FROM accounts WHERE username = 'root'"))[0]["id"]
    users.add_member("acme", account, roles=["admin", "system"])
    await door.a_minute_passes()
    return door.bearer((await door.login("root")).json())


@pytest.fixture
async def admin(door: Door, root: dict[str, str]) -> dict[str, str]:
    """The headers of an admin of a tenant, who is not an operator."""
    return door.bearer(await door.signed_up("boss", slug="globex"))
