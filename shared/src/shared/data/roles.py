"""Roles and databases: who may do what, as the SQL that `python -m <service> db create` runs.

Per service: `_owner` owns the tables (migrations, dumps), `_app` serves one tenant at a time, `_fleet` looks across
tenants where a table's policy names it. None can log in; the login of DATABASE_URL is a member of the last two and
inherits nothing (NOINHERIT), so that each connection is exactly one of them.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import asyncpg
from sqlalchemy.engine import URL, make_url

_ROLES = ("owner", "app", "fleet")


def database_name(service: str) -> str:
    return f"flotilla_{service}"


def role_name(service: str, role: Literal["owner", "app", "fleet"] | str) -> str:
    return f"flotilla_{service}_{role}"


def role_statements(service: str, login: str, password: str) -> list[str]:
    """The cluster's part: three roles and the login, each made only where it is missing."""
    makes = [_unless_exists(role_name(service, role), "NOLOGIN NOINHERIT") for role in _ROLES]
    makes.append(_unless_exists(login, f"LOGIN NOINHERIT PASSWORD {literal(password)}"))
    grants = f"GRANT {role_name(service, 'app')}, {role_name(service, 'fleet')} TO {identifier(login)}"
    return [*makes, grants, f"GRANT {role_name(service, 'owner')} TO CURRENT_USER"]


def database_statements(service: str, name: str) -> list[str]:
    return [f"CREATE DATABASE {identifier(name)} OWNER {role_name(service, 'owner')}"]


def grant_statements(service: str, name: str, login: str) -> list[str]:
    """The database's own grants; a database cloned from a template needs them again."""
    connect = ", ".join([*(role_name(service, role) for role in _ROLES), identifier(login)])
    return [
        f"REVOKE ALL ON DATABASE {identifier(name)} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {identifier(name)} TO {connect}",
    ]


def schema_statements(service: str) -> list[str]:
    """Run inside the database: only the other two roles can use the tables that `_owner` creates."""
    owner, users = role_name(service, "owner"), f"{role_name(service, 'app')}, {role_name(service, 'fleet')}"
    future = f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public"
    return [
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        f"GRANT USAGE, CREATE ON SCHEMA public TO {owner}",  # PostgreSQL 15: NOINHERIT hides that it owns the database
        f"GRANT USAGE ON SCHEMA public TO {users}",
        f"{future} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {users}",
        f"{future} GRANT USAGE, SELECT ON SEQUENCES TO {users}",
    ]


async def create_database(admin_url: str, service: str, name: str, login: str, password: str) -> None:
    """Make the database, its roles and its grants; safe to run again."""
    async with _connection(admin_url) as admin:
        # Roles belong to the cluster: two services being created at once would trip over each other's catalogue rows.
        await admin.execute("SELECT pg_advisory_lock(hashtext('flotilla roles'))")
        for statement in role_statements(service, login, password):
            await admin.execute(statement)
        if not await admin.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            for statement in database_statements(service, name):
                await admin.execute(statement)
        for statement in grant_statements(service, name, login):
            await admin.execute(statement)
    async with _connection(admin_url, name) as inside:
        for statement in schema_statements(service):
            await inside.execute(statement)


@asynccontextmanager
async def _connection(url: str, database: str = "postgres") -> "AsyncIterator[asyncpg.Connection]":
    target: URL = make_url(url).set(drivername="postgresql", database=database)
    connection = await asyncpg.connect(target.render_as_string(hide_password=False), timeout=10)
    try:
        yield connection
    finally:
        await connection.close()


def identifier(name: str) -> str:
    """A quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """A quoted SQL string (standard_conforming_strings is on since PostgreSQL 9.1)."""
    return "'" + value.replace("'", "''") + "'"


def _unless_exists(role: str, attributes: str) -> str:
    return (
        f"DO $do$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {literal(role)}) "
        f"THEN CREATE ROLE {identifier(role)} {attributes}; END IF; END $do$"
    )
