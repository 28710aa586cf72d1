"""Registration: what is taken, what is refused, and how it goes on when users-service did not answer."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.testing.fakes import FakeUsers
from shared.testing.names import UNACCEPTABLE_NAMES

from .door import PASSWORD, Door, new_password, problem


async def test_registering_a_tenant_makes_its_admin(door: Door, users: FakeUsers) -> None:
    reply = await door.register("ann", slug="acme")
    assert reply.status_code == 201
    body = reply.json()
    assert body["tenant"] == {"id": users.tenants["acme"]["id"], "slug": "acme", "name": "Acme"}
    assert (body["username"], body["email"]) == ("ann", "ann@example.com")
    assert users.people == {body["id"]: "ann"}
    assert set(body) == {"id", "username", "email", "tenant"}
    assert (await door.rows("SELECT status FROM accounts")) == [{"status": "active"}]
    outbox = await door.rows("SELECT type, subject::text, tenant_id::text, data FROM outbox")
    assert outbox == [
        {
            "type": "account.registered.v1",
            "subject": body["id"],
            "tenant_id": body["tenant"]["id"],
            "data": {"username": "ann"},
        }
    ]


async def test_without_a_tenant_one_joins_the_default_tenant_if_there_is_one(door: Door, users: FakeUsers) -> None:
    assert (await door.register("ann")).json()["tenant"]["slug"] == "default"
    del users.tenants["default"]
    assert (await door.register("bob")).json()["tenant"] is None
    assert problem(await door.login("bob")) == (403, "no_tenant")


async def test_a_username_and_an_email_are_taken_without_regard_to_case(door: Door) -> None:
    assert (await door.register("Ann")).status_code == 201
    assert problem(await door.register("aNN", email="other@example.com")) == (409, "username_taken")
    assert problem(await door.register("bob", email="ANN@example.com")) == (409, "email_taken")


async def test_a_slug_that_is_taken_frees_the_names_again(door: Door) -> None:
    await door.register("ann", slug="acme")
    assert problem(await door.register("bob", slug="acme")) == (409, "slug_taken")
    assert await door.rows("SELECT username FROM accounts WHERE username = 'bob'") == []
    assert (await door.register("bob", slug="globex")).status_code == 201


async def test_a_reserved_slug_is_a_fault_of_that_field(door: Door) -> None:
    reply = await door.register("ann", slug="www")
    assert problem(reply) == (422, "slug_reserved")
    assert reply.json()["errors"] == [
        {"detail": "Must not be a reserved name.", "code": "slug_reserved", "pointer": "#/tenant/slug"}
    ]
    assert await door.rows("SELECT 1 FROM accounts") == []


@pytest.mark.parametrize("trouble", ["down", "loses_answers"])
async def test_a_registration_without_an_answer_is_resumed(door: Door, users: FakeUsers, trouble: str) -> None:
    setattr(users, trouble, True)
    reply = await door.register("ann", slug="acme")
    assert problem(reply) == (503, "registration_unfinished")
    assert int(reply.headers["retry-after"]) > 0
    pending = await door.rows("SELECT id::text, status FROM accounts")
    assert [row["status"] for row in pending] == ["pending"]
    assert problem(await door.login("ann")) == (401, "sign_in_refused")

    setattr(users, trouble, False)
    assert problem(await door.register("ann", slug="acme", **new_password("Other-word-8"))) == (409, "username_taken")
    resumed = await door.register("ann", slug="acme")
    assert resumed.status_code == 201
    assert resumed.json()["id"] == pending[0]["id"]
    assert (await door.login("ann")).status_code == 200
    assert len(await door.rows("SELECT 1 FROM outbox WHERE type = 'account.registered.v1'")) == 1


async def test_of_many_who_want_one_name_one_gets_it(door: Door) -> None:
    wanted = [
        door.register("ann", email=f"a{number}@example.com", **new_password(f"Word-{number}-x")) for number in range(8)
    ]
    replies = await asyncio.gather(*wanted)
    assert sorted(reply.status_code for reply in replies) == [201] + [409] * 7


async def test_the_same_request_sent_twice_at_once_makes_one_account(door: Door) -> None:
    replies = await asyncio.gather(*(door.register("ann", slug="acme") for _ in range(4)))
    assert 201 in {reply.status_code for reply in replies}
    assert {reply.status_code for reply in replies} <= {201, 409}
    assert len({reply.json()["id"] for reply in replies if reply.status_code == 201}) == 1
    assert len(await door.rows("SELECT 1 FROM outbox WHERE type = 'account.registered.v1'")) == 1


def day(years: int, *, later: int = 0) -> str:
    """The day that was `years` years ago, or so many days later."""
    today = datetime.now(UTC).date()
    today = today.replace(day=28) if (today.month, today.day) == (2, 29) else today
    return str(today.replace(year=today.year - years) + timedelta(days=later))


async def test_birth_date_and_newsletter_go_to_users_service(door: Door, users: FakeUsers) -> None:
    for name, born in (("ann", day(13)), ("bob", day(121, later=1))):
        reply = await door.register(name, birth_date=born, newsletter=True)
        assert users.details[reply.json()["id"]] == {"birth_date": born, "newsletter": True}
    reply = await door.register("cyd")
    assert users.details[reply.json()["id"]] == {"birth_date": None, "newsletter": False}


RULES: list[tuple[dict[str, Any], str, str]] = [
    ({"username": "an"}, "string_too_short", "#/username"),
    ({"username": "a" * 33}, "string_too_long", "#/username"),
    ({"username": "ann lee"}, "string_pattern_mismatch", "#/username"),
    ({"username": "änn"}, "string_pattern_mismatch", "#/username"),
    ({"username": "ann\n"}, "string_pattern_mismatch", "#/username"),
    ({"username": 7}, "string_type", "#/username"),
    ({"username": "a\0nn"}, "nul_character", "#/username"),
    ({"email": "ann"}, "not_an_email", "#/email"),
    ({"email": "ann@"}, "not_an_email", "#/email"),
    ({"email": "a" * 65 + "@example.com"}, "not_an_email", "#/email"),
    (new_password("Short-7"), "string_too_short", "#/password"),
    (new_password("lower-case-7"), "password_too_simple", "#/password"),
    (new_password("Without-digit"), "password_too_simple", "#/password"),
    (new_password("My-ANN-word-7"), "password_contains_username", "#/password"),
    ({"email": "lee@example.com", **new_password("Lee-sails-7")}, "password_contains_email", "#/password"),
    ({"confirm_password": "Sail-away-8"}, "passwords_differ", "#/confirm_password"),
    ({"tenant": {"name": "Acme", "slug": "Acme"}}, "string_pattern_mismatch", "#/tenant/slug"),
    ({"tenant": {"name": "Acme", "slug": "ac"}}, "string_pattern_mismatch", "#/tenant/slug"),
    ({"tenant": {"name": "", "slug": "acme"}}, "visible_character", "#/tenant/name"),
    ({"tenant": {"name": "Acme\u0007 Limited", "slug": "acme"}}, "one_line", "#/tenant/name"),
    ({"tenant": {"name": " \n ", "slug": "acme"}}, "one_line", "#/tenant/name"),
    ({"tenant": "acme"}, "model_attributes_type", "#/tenant"),
    ({"birth_date": day(13, later=1)}, "age", "#/birth_date"),
    ({"birth_date": day(121)}, "age", "#/birth_date"),
    ({"birth_date": "2990-01-01"}, "age", "#/birth_date"),
    ({"birth_date": "1990-02-30"}, "not_a_day", "#/birth_date"),
    ({"newsletter": "yes"}, "bool_type", "#/newsletter"),
    ({"admin": True}, "extra_forbidden", "#/admin"),
]


async def test_each_rule_says_what_is_wrong_with_which_field(door: Door) -> None:
    for changes, code, pointer in RULES:
        reply = await door.register(**{"username": "ann", **changes})
        assert problem(reply) == (422, "invalid_input"), changes
        assert (code, pointer) in {(error["code"], error["pointer"]) for error in reply.json()["errors"]}, changes
        assert PASSWORD not in reply.text


async def test_all_faults_of_a_password_are_told_at_once(door: Door) -> None:
    reply = await door.register("ann", password="my-ann-word", confirm_password="else")
    codes = {error["code"] for error in reply.json()["errors"]}
    assert codes == {
        "password_too_simple",
        "password_contains_username",
        "password_contains_email",
        "passwords_differ",
    }


BROKEN = {
    "no JSON": (b"{", 400, "malformed_request"),
    "broken UTF-8": (b'{"username": "\xff\xfe"}', 400, "malformed_request"),
    "a lone surrogate": (b'{"username": "a\\ud800nn"}', 400, "malformed_request"),
    "NaN": (b'{"username": NaN}', 400, "malformed_request"),
    "1 MB of brackets": (b"[" * 1_000_000, 400, "malformed_request"),
    "deep JSON": (b'{"a":' * 200 + b"1" + b"}" * 200, 422, "invalid_input"),
    "a list": (b"[]", 422, "invalid_input"),
    "too large": (json.dumps({"username": "a" * 1_100_000}).encode(), 413, "body_too_large"),
}


@pytest.mark.parametrize("path", ["/auth/register", "/auth/login", "/auth/refresh"])
async def test_bad_bodies_get_their_problem(door: Door, path: str) -> None:
    for what, (body, status, code) in BROKEN.items():
        reply = await door.client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert problem(reply) == (status, code), what


@pytest.mark.parametrize(
    ("registration", "slug", "code"),
    [
        ({"people": "closed"}, None, "registration_closed"),
        ({"people": "invited"}, None, "registration_closed"),
        ({"tenants": "operator"}, "acme", "tenant_registration_closed"),
    ],
)
class TestClosedFleets:
    @pytest.fixture
    def settings_values(self, settings_values: dict[str, Any], registration: dict[str, str]) -> dict[str, Any]:
        return settings_values | {"registration": registration}

    async def test_a_closed_fleet_registers_nobody(self, door: Door, slug: str | None, code: str) -> None:
        assert problem(await door.register("ann", slug=slug)) == (403, code)


SPECIAL_USE = ("ann@harbour.local", "ann@sub.harbour.test", "ann@harbour.invalid")


@pytest.mark.parametrize("email", SPECIAL_USE)
async def test_an_email_at_a_special_use_domain_is_for_development(door: Door, email: str) -> None:
    assert (await door.register("ann", email=email)).status_code == 201
    assert (await door.login(email)).status_code == 200


class TestWithoutSpecialUseDomains:
    @pytest.fixture
    def settings_values(self, settings_values: dict[str, Any]) -> dict[str, Any]:
        return settings_values | {"special_use_email_domains": False}

    @pytest.mark.parametrize("email", SPECIAL_USE)
    async def test_an_email_at_a_special_use_domain_is_refused(self, door: Door, email: str) -> None:
        reply = await door.register("ann", email=email, confirm_password="else")
        errors = {(error["code"], error["pointer"]) for error in reply.json()["errors"]}
        assert problem(reply) == (422, "invalid_input")
        assert errors == {("special_use_domain", "#/email"), ("passwords_differ", "#/confirm_password")}

    async def test_an_account_from_before_signs_in(self, door: Door) -> None:
        await door.register("ann")
        await door.run("UPDATE accounts SET email = 'ann@harbour.local'")
        assert (await door.login("Ann@harbour.LOCAL")).status_code == 200


@pytest.mark.parametrize("name", UNACCEPTABLE_NAMES)
async def test_a_tenants_name_that_cannot_be_read_is_refused(door: Door, name: str) -> None:
    reply = await door.register("ann", tenant={"name": name, "slug": "acme"})
    assert (reply.status_code, reply.json()["errors"][0]["pointer"]) == (422, "#/tenant/name")


@pytest.mark.parametrize("password", ["Sail\u200baway-7", "Sail\taway-7", "Sail\u202eaway-7", "Sail\ue000away-7"])
async def test_a_password_of_characters_that_cannot_be_typed_again_is_refused(door: Door, password: str) -> None:
    reply = await door.register("ann", **new_password(password))
    assert (reply.status_code, reply.json()["errors"][0]["pointer"]) == (422, "#/password")
    assert password not in reply.text


async def test_a_password_contains_the_username_in_any_spelling(door: Door) -> None:
    reply = await door.register("bob", email="cafe\u0301@example.com", **new_password("My-Caf\u00e9-123"))
    assert [error["code"] for error in reply.json()["errors"]] == ["password_contains_email"]
