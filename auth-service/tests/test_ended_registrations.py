"""A registration that users-service carried out and nobody finished leaves nothing behind in either service."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from auth_service import maintenance
from auth_service.settings import AuthSettings
from shared.clients import Clients
from shared.problems import ServiceUnavailable
from shared.resources import Resources
from shared.testing.fakes import FakeUsers

from .door import Door, claims_of, new_password, problem

AN_HOUR_LATER = "UPDATE accounts SET created_at = created_at - interval '61 minutes'"


Tidy = Callable[[], Awaitable[None]]


@pytest.fixture
def tidy(door: Door, resources: Resources) -> Tidy:
    """The service's maintenance, once."""
    users, settings = resources.get(Clients).to("users"), resources.get(AuthSettings)
    return lambda: maintenance.tidy(door.database, users, settings)


@pytest.fixture
async def abandoned(door: Door, users: FakeUsers) -> str:
    """Ann's, who wanted acme, as its answer was lost; the account's id."""
    users.loses_answers = True
    assert problem(await door.register("ann", slug="acme")) == (503, "registration_unfinished")
    users.loses_answers = False
    assert "acme" in users.tenants
    return str((await door.rows("SELECT id::text FROM accounts"))[0]["id"])


@pytest.mark.usefixtures("abandoned")
async def test_after_an_hour_anyone_takes_the_names(door: Door, users: FakeUsers) -> None:
    assert problem(await door.register("bob", slug="acme")) == (409, "slug_taken")
    await door.run(AN_HOUR_LATER)
    reply = await door.register("ann", slug="acme", **new_password("Other-word-8"))
    assert reply.status_code == 201
    assert users.people == {reply.json()["id"]: "ann"}
    assert (await door.login("ann")).status_code == 401


async def test_maintenance_frees_slug_username_and_email(
    door: Door, users: FakeUsers, abandoned: str, tidy: Tidy
) -> None:
    await tidy()
    assert abandoned in users.people
    await door.run(AN_HOUR_LATER)
    users.down = True
    with pytest.raises(ServiceUnavailable):
        await tidy()
    assert await door.rows("SELECT status FROM accounts") == [{"status": "ending"}]
    assert problem(await door.register("ann", slug="acme")) == (503, "service_unavailable")
    users.down = False
    await tidy()
    assert await door.rows("SELECT status FROM accounts") == []
    assert (await door.register("bob", slug="acme", email="ann@example.com")).status_code == 201


@pytest.mark.parametrize(
    "wanted",
    [
        {"username": "ann", "tenant": {"name": "Globex", "slug": "globex"}},
        {"username": "ann", "tenant": {"name": "Acme & Co", "slug": "acme"}},
        {"username": "ann", "tenant": None},
        {"username": "Ann", "tenant": {"name": "Acme", "slug": "acme"}},
    ],
)
async def test_registering_something_else_takes_the_first_back(
    door: Door, users: FakeUsers, abandoned: str, wanted: dict[str, Any]
) -> None:
    reply = await door.register(**wanted, email="ann@example.com")
    assert reply.status_code == 201, reply.text
    body = reply.json()
    assert body["id"] != abandoned
    assert users.people == {body["id"]: wanted["username"]}
    slug = wanted["tenant"]["slug"] if wanted["tenant"] else "default"
    assert body["tenant"]["slug"] == slug
    assert set(users.tenants) == {"default", slug}
    assert users.tenants[slug]["name"] == body["tenant"]["name"]
    assert claims_of((await door.login("ann")).json())["tenant_slug"] == slug


async def test_another_email_is_taken_in_place(door: Door, abandoned: str) -> None:
    reply = await door.register("ann", slug="acme", email="ann@else.example")
    assert (reply.status_code, reply.json()["id"]) == (201, abandoned)
    assert (await door.login("ann@else.example")).status_code == 200


async def test_what_was_given_up_is_not_activated_by_a_late_answer(door: Door, users: FakeUsers, tidy: Tidy) -> None:
    """The hour ends between users-service's answer and its arrival here."""

    async def an_hour_passes() -> None:
        await door.run(AN_HOUR_LATER)
        await tidy()

    users.before_answer = an_hour_passes
    assert problem(await door.register("ann", slug="acme")) == (503, "registration_unfinished")
    assert await door.rows("SELECT 1 FROM accounts") == []
    assert await door.rows("SELECT 1 FROM outbox") == []
    assert set(users.tenants) == {"default"}
    assert (await door.register("ann", slug="acme")).status_code == 201


async def test_of_two_different_ones_at_once_one_is_carried_out(door: Door, users: FakeUsers) -> None:
    replies: list[Any] = []

    async def another() -> None:
        replies.append(await door.register("ann", slug="globex"))

    users.before_answer = another
    assert problem(await door.register("ann", slug="acme")) == (503, "registration_unfinished")
    assert replies[0].status_code == 201
    assert set(users.tenants) == {"default", "globex"}
    assert claims_of((await door.login("ann")).json())["tenant_slug"] == "globex"


async def test_a_taken_slug_whose_end_is_interrupted_blocks_nobody(door: Door, users: FakeUsers) -> None:
    users.add_tenant("globex")

    async def goes_away() -> None:
        users.down = True

    users.before_answer = goes_away
    assert problem(await door.register("ann", slug="globex")) == (409, "slug_taken")
    assert await door.rows("SELECT status FROM accounts") == [{"status": "ending"}]
    users.down = False
    assert (await door.register("ann", slug="acme", **new_password("Other-word-8"))).status_code == 201


async def test_what_users_service_knows_as_active_is_active(
    door: Door, users: FakeUsers, abandoned: str, tidy: Tidy
) -> None:
    """A database of this service that was set back to before the activation."""
    users.confirmed.add(abandoned)
    await door.run(AN_HOUR_LATER)
    await tidy()
    assert await door.rows("SELECT id::text, status FROM accounts") == [{"id": abandoned, "status": "active"}]
    assert claims_of((await door.login("ann")).json())["tenant_slug"] == "acme"


@pytest.mark.usefixtures("abandoned")
async def test_the_password_is_guessed_no_more_than_at_a_sign_in(door: Door) -> None:
    guesses = [door.register("ann", slug="acme", **new_password(f"Guess-word-{number}")) for number in range(12)]
    codes = [problem(reply) for reply in await asyncio.gather(*guesses)]
    assert codes.count((409, "username_taken")) == 10
    assert codes.count((429, "sign_in_throttled")) == 2
    assert problem(await door.register("ann", slug="acme")) == (429, "sign_in_throttled")
    assert problem(await door.login("ann")) == (429, "sign_in_throttled")
    await door.run("UPDATE sign_in_failures SET failed_at = failed_at - interval '15 minutes'")
    assert (await door.register("ann", slug="acme")).status_code == 201
