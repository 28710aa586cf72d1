"""The database: its migrations match the models, its policies the house's rules, its rows are pruned."""

import asyncio
import traceback
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from auth_service import maintenance
from auth_service.accounts.passwords import HashingBusy, Passwords
from auth_service.settings import AuthSettings, PasswordSettings
from shared.clients import Clients
from shared.data.database import Database
from shared.data.migrations import differences
from shared.data.models import Base
from shared.data.policies import catalogue_errors
from shared.ids import new_id
from shared.problems import every_problem
from shared.resources import Resources
from shared.settings import Environment

from .door import PASSWORD, Door

FLEET_TABLES = frozenset({"memberships"})  # a sign-in looks for all of a person's tenants


async def test_the_migrations_make_what_the_models_say(postgres_admin_url: str, database_name: str) -> None:
    assert await differences(postgres_admin_url, database_name, "auth", Base.metadata) == []


async def test_every_table_is_guarded_as_its_kind_asks(database: Database) -> None:
    async with database.engine().connect() as connection:
        assert await catalogue_errors(connection, "auth", FLEET_TABLES) == []


async def test_the_projection_shows_a_tenant_its_own_rows_only(door: Door) -> None:
    await door.signed_up("ann", slug="acme")
    await door.signed_up("bob", slug="globex")
    assert await door.rows("SELECT 1 FROM memberships") == []
    tenants = await door.rows("SELECT id FROM tenants WHERE slug = 'acme'")
    async with door.database.transaction(tenants[0]["id"]) as db:
        count = await db.connection()
        assert len((await count.exec_driver_sql("SELECT 1 FROM memberships")).all()) == 1


async def test_a_database_error_shows_no_values(database: Database) -> None:
    """What is unexpected is logged with its text, and a statement's values may be secrets."""
    secret = str(new_id())
    with pytest.raises(DBAPIError) as error:
        async with database.transaction() as db:
            await db.execute(text("INSERT INTO accounts (password_hash) VALUES (:value)"), {"value": secret})
    assert secret not in "".join(traceback.format_exception(error.value))


async def test_maintenance_forgets_what_is_over_and_nothing_else(
    door: Door, settings: AuthSettings, resources: Resources
) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    await door.login("ann", "Wrong-word-7")
    await door.client.post("/auth/tickets", json={"path": "/ws"}, headers=door.bearer(tokens))
    await door.client.post("/auth/logout", headers=door.bearer(tokens))
    await door.login("ann")
    await maintenance.tidy(door.database, resources.get(Clients).to("users"), settings)
    assert await _counts(door) == {"sessions": 2, "tickets": 1, "revocations": 1, "sign_in_failures": 1}

    await door.run("UPDATE sessions SET ended_at = ended_at - interval '31 days'")
    await door.run("UPDATE tickets SET expires_at = expires_at - interval '1 hour'")
    await door.run("UPDATE revocations SET expires_at = expires_at - interval '1 hour'")
    await door.run("UPDATE sign_in_failures SET failed_at = failed_at - interval '1 hour'")
    await maintenance.tidy(door.database, resources.get(Clients).to("users"), settings)
    assert await _counts(door) == {"sessions": 1, "tickets": 0, "revocations": 0, "sign_in_failures": 0}
    assert len(await door.rows("SELECT 1 FROM accounts")) == 1


async def _counts(door: Door) -> dict[str, int]:
    tables = ("sessions", "tickets", "revocations", "sign_in_failures")
    return {table: len(await door.rows(f"SELECT 1 FROM {table}")) for table in tables}  # noqa: S608 - names from above


def test_what_keeps_its_writes_is_known_and_tested() -> None:
    ours = [kind for kind in every_problem().values() if kind.__module__.startswith("auth_service")]
    keeping = {kind.code for kind in ours if kind.keeps_writes}
    # test_sessions.py, test_refresh.py, test_authorization_code.py, test_magic_links.py, test_mfa*.py,
    # test_device_authorization.py
    assert keeping == {
        *("sign_in_refused", "refresh_token_reused", "membership_ended", "grant_replayed"),
        *("second_factor_refused", "passkey_refused", "factor_refused", "code_wrong"),
        *("device_code_unknown", "poll_refused"),
    }


async def test_hashing_is_bounded_and_renewed() -> None:
    cheap = PasswordSettings(time_cost=1, memory_kib=8, parallelism=1, workers=1, max_waiting=0)
    passwords, dearer = Passwords(cheap), Passwords(cheap.model_copy(update={"time_cost": 2}))
    stored = await passwords.hash(PASSWORD)
    assert stored.startswith("$argon2id$")
    assert await passwords.matching_form(stored, PASSWORD) == PASSWORD
    assert await passwords.matching_form(stored, "else") is None
    assert await passwords.matching_form(None, "no account has this password") is None
    assert await passwords.matching_form("no hash", PASSWORD) is None
    assert dearer.is_outdated(stored, PASSWORD)
    assert not passwords.is_outdated(stored, PASSWORD)
    first = passwords.hash(PASSWORD)
    running = asyncio.ensure_future(first)
    await asyncio.sleep(0)  # the first one takes the only place
    with pytest.raises(HashingBusy) as busy:
        await passwords.hash(PASSWORD)
    assert busy.value.headers["Retry-After"] == "2"
    await running
    await passwords.close()
    await dearer.close()


class TestRehash:
    @pytest.fixture
    def settings_values(self, settings_values: dict[str, Any]) -> dict[str, Any]:
        return settings_values | {"passwords": {"time_cost": 2, "memory_kib": 8, "parallelism": 1}}

    async def test_a_sign_in_renews_a_hash_of_other_costs(self, door: Door) -> None:
        await door.register("ann", slug="acme")
        cheap = Passwords(PasswordSettings(time_cost=1, memory_kib=8, parallelism=1))
        old = await cheap.hash(PASSWORD)
        await door.run("UPDATE accounts SET password_hash = :old", old=old)
        assert (await door.login("ann")).status_code == 200
        stored = await door.rows("SELECT password_hash FROM accounts")
        assert "t=2" in stored[0]["password_hash"]
        assert (await door.login("ann")).status_code == 200
        await cheap.close()


def test_production_must_name_who_may_register() -> None:
    with pytest.raises(ValueError, match="REGISTRATION__PEOPLE") as fault:
        AuthSettings(_env_file=None, environment=Environment.PRODUCTION, public_url="https://flotilla.example")
    assert "REGISTRATION__TENANTS" in str(fault.value)
