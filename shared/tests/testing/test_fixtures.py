"""The fixtures that every package's tests stand on."""

from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from sqlalchemy.engine import make_url

from shared.data.roles import role_name
from shared.identity.principal import Principal
from shared.identity.tokens import InternalVerifier, read_header
from shared.identity.trust import watch_trust
from shared.testing import People, Servers, eventually, running
from shared.testing.databases import Template


async def as_app(template: Template, database: str) -> asyncpg.Connection:
    url = make_url(template.app_url).set(drivername="postgresql", database=database)
    return await asyncpg.connect(
        url.render_as_string(hide_password=False), server_settings={"role": role_name("notes", "app")}
    )


@pytest.mark.parametrize("attempt", [1, 2])
async def test_each_test_gets_a_migrated_database_of_its_own(
    template: Template, database_name: str, attempt: int
) -> None:
    connection = await as_app(template, database_name)
    assert await connection.fetchval("SELECT count(*) FROM notes") == 0
    await connection.execute("INSERT INTO notes VALUES ($1)", attempt)
    await connection.close()


async def test_a_clone_has_its_grants_again(template: Template, database_name: str) -> None:
    connection = await as_app(template, database_name)
    acl = await connection.fetchval("SELECT datacl::text FROM pg_database WHERE datname = $1", database_name)
    await connection.close()
    assert not any(entry.startswith("=") for entry in acl.strip("{}").split(","))  # nothing for PUBLIC


async def test_the_cache_is_empty_at_the_start_of_each_test(cache_url: str, bus_url: str) -> None:
    for url in (cache_url, bus_url):
        client = Redis.from_url(url)
        assert await client.dbsize() == 0
        await client.set("left", "over")
        await client.aclose()
    assert cache_url != bus_url


async def test_what_was_used_is_described(servers: Servers, cache_url: str) -> None:
    assert servers.described["valkey"].startswith(("Valkey ", "Redis "))


async def test_rabbitmq_answers_where_it_is_installed(rabbitmq_url: str, servers: Servers) -> None:
    assert servers.described["rabbitmq"].startswith("RabbitMQ ")


def verified(as_user: People, headers: dict[str, str]) -> Principal:
    token = headers["Authorization"].removeprefix("Bearer ")
    trust = watch_trust(as_user.trust_file, development=True).current
    principal = InternalVerifier("notes", trust).verify(token, read_header(token))
    assert isinstance(principal, Principal)
    return principal


def test_people_carry_their_tenant_roles_and_scopes(as_user: People) -> None:
    principal = verified(as_user, as_user("ann", tenant="globex", roles=["moderator"]))
    assert (principal.user_id, principal.tenant_id) == (as_user.id("ann"), as_user.tenant_id("globex"))
    assert principal.roles == {"moderator"}
    assert "chat:moderate" in principal.scopes


def test_a_service_acting_for_a_person_is_capped(as_user: People) -> None:
    principal = verified(as_user, as_user("ann", via="tasks"))
    assert principal.actor == "tasks"
    assert "files:read" in principal.scopes
    assert "jobs:write" not in principal.scopes


async def test_the_service_runs_on_a_real_socket(base_url: str) -> None:
    port = int(base_url.rpartition(":")[2])
    assert port > 0


async def test_an_application_that_does_not_start_says_so() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    with pytest.raises(RuntimeError, match="did not start"):
        async with running(broken):
            pass


async def test_eventually_fails_with_what_it_saw() -> None:
    with pytest.raises(AssertionError, match="the moon rises"):
        await eventually(lambda: 0, within_s=0.05, saying="the moon rises")
