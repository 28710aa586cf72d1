"""The refresh-token state machine: rotation, the retry that gets the same, the reuse that ends everything."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from shared.identity import Principal, Revocations
from shared.resources import Resources
from shared.testing import eventually
from shared.testing.fakes import FakeUsers

from .door import Door, claims_of, principal_of, problem

LONG_AGO = "UPDATE sessions SET rotated_at = rotated_at - interval '21 seconds'"


async def test_a_refresh_goes_on_with_the_session(door: Door) -> None:
    first = await door.signed_up("ann", slug="acme")
    reply = await door.refresh(first["refresh_token"])
    assert reply.status_code == 200
    second = reply.json()
    assert set(second) == {"access_token", "refresh_token", "token_type", "expires_in", "scope", "session_id"}
    assert second["session_id"] == first["session_id"]
    assert second["refresh_token"] != first["refresh_token"]
    assert claims_of(second)["jti"] != claims_of(first)["jti"]
    assert reply.headers["cache-control"] == "no-store"
    assert (await door.refresh(second["refresh_token"])).status_code == 200


@pytest.mark.parametrize(
    "text", ["", " ", "x", "é" * 40, "=" * 64, "A" * 64, "A" * 201, "A" * 5_000, "a.b.c", "AAAA\nAAAA", "\U0001f984"]
)
async def test_text_that_is_not_our_refresh_token_is_refused(door: Door, text: str) -> None:
    first = await door.signed_up("ann", slug="acme")
    cookie = {"Cookie": f"flotilla_refresh={first['refresh_token']}"}
    for headers in ({}, cookie):  # a cookie beside it is not read, which needs an Origin
        reply = await door.client.post("/auth/refresh", json={"refresh_token": text}, headers=headers)
        assert problem(reply) == (401, "refresh_refused")
    assert (await door.refresh(first["refresh_token"])).status_code == 200


async def test_twenty_at_once_all_get_the_one_successor(door: Door) -> None:
    first = await door.signed_up("ann", slug="acme")
    replies = await asyncio.gather(*(door.refresh(first["refresh_token"]) for _ in range(20)))
    assert {reply.status_code for reply in replies} == {200}
    successors = {reply.json()["refresh_token"] for reply in replies}
    assert len(successors) == 1
    assert await door.rows("SELECT generation FROM sessions") == [{"generation": 1}]
    assert (await door.refresh(successors.pop())).status_code == 200


async def test_a_retry_within_the_window_gets_the_same_successor(door: Door) -> None:
    first = await door.signed_up("ann", slug="acme")
    lost = (await door.refresh(first["refresh_token"])).json()
    again = (await door.refresh(first["refresh_token"])).json()
    assert again["refresh_token"] == lost["refresh_token"]
    assert await door.rows("SELECT generation, ended_at FROM sessions") == [{"generation": 1, "ended_at": None}]


async def test_reuse_after_the_window_ends_the_family_and_the_database_says_so(door: Door) -> None:
    first = await door.signed_up("ann", slug="acme")
    second = (await door.refresh(first["refresh_token"])).json()
    await door.run(LONG_AGO)
    assert problem(await door.refresh(first["refresh_token"])) == (401, "refresh_token_reused")

    sessions = await door.rows("SELECT ended_at IS NOT NULL AS ended, end_reason FROM sessions")
    assert sessions == [{"ended": True, "end_reason": "reuse"}]
    revoked = await door.rows("SELECT kind, ref FROM revocations")
    assert revoked == [{"kind": "session", "ref": first["session_id"]}]
    events = await door.rows("SELECT subject::text, data FROM outbox WHERE type = 'session.revoked.v1'")
    assert events == [{"subject": first["session_id"], "data": {"user_id": claims_of(first)["sub"], "reason": "reuse"}}]
    assert len(await door.rows("SELECT 1 FROM security_events WHERE kind = 'refresh_token_reused'")) == 1
    assert problem(await door.refresh(second["refresh_token"])) == (401, "refresh_refused")
    me = await door.client.get("/auth/me", headers=door.bearer(second))
    assert problem(me) == (401, "invalid_token")


async def test_an_older_generation_ends_the_family_even_within_the_window(door: Door) -> None:
    first = await door.signed_up("ann", slug="acme")
    second = (await door.refresh(first["refresh_token"])).json()
    await door.refresh(second["refresh_token"])
    assert problem(await door.refresh(first["refresh_token"])) == (401, "refresh_token_reused")


async def test_a_generation_of_the_future_ends_the_family(door: Door) -> None:
    """A database restored from a backup: whoever holds the newer token may not be told from a thief."""
    first = await door.signed_up("ann", slug="acme")
    second = (await door.refresh(first["refresh_token"])).json()
    await door.run("UPDATE sessions SET generation = 0")
    assert problem(await door.refresh(second["refresh_token"])) == (401, "refresh_token_reused")


async def test_a_copy_that_races_its_owner_after_the_window_ends_both(door: Door) -> None:
    first = await door.signed_up("ann", slug="acme")
    second = (await door.refresh(first["refresh_token"])).json()
    await door.run(LONG_AGO)
    replies = await asyncio.gather(*(door.refresh(first["refresh_token"]) for _ in range(6)))
    assert {reply.status_code for reply in replies} == {401}
    assert len(await door.rows("SELECT 1 FROM outbox WHERE type = 'session.revoked.v1'")) == 1
    assert (await door.refresh(second["refresh_token"])).status_code == 401


async def test_what_is_no_token_of_ours_is_refused_and_ends_nothing(door: Door) -> None:
    token = (await door.signed_up("ann", slug="acme"))["refresh_token"]
    last = "B" if token[-1] == "A" else "A"
    for bent in (
        token[:-1] + last,
        token[:30] + ("x" if token[30] != "x" else "y") + token[31:],
        token + "=",
        "x",
        "ä",
    ):
        assert problem(await door.refresh(bent)) == (401, "refresh_refused"), bent
    assert problem(await door.client.post("/auth/refresh", json={"refresh_token": 7})) == (422, "invalid_input")
    assert (await door.refresh(token)).status_code == 200


@pytest.mark.parametrize(
    ("remember_me", "column", "interval", "refreshed"),
    [
        (False, "last_seen_at", "11 hours", True),
        (False, "last_seen_at", "13 hours", False),
        (True, "last_seen_at", "29 days", True),
        (True, "last_seen_at", "31 days", False),
        (True, "created_at", "179 days", True),
        (True, "created_at", "181 days", False),
    ],
)
async def test_a_session_ends_idle_and_at_its_longest(
    door: Door, remember_me: bool, column: str, interval: str, refreshed: bool
) -> None:
    await door.signed_up("ann", slug="acme")
    tokens = (await door.login("ann", remember_me=remember_me)).json()
    opened = (await door.client.post("/auth/sessions", json={"tenant": "acme"}, headers=door.bearer(tokens))).json()
    await door.run(f"UPDATE sessions SET {column} = {column} - interval '{interval}'")  # noqa: S608 - from above
    listed = (await door.client.get("/auth/sessions", headers=door.bearer(tokens))).json()["items"]
    assert ({tokens["session_id"], opened["session_id"]} <= {item["id"] for item in listed}) == refreshed
    for session in (tokens, opened):  # one opened from another inherits its lifetime
        reply = await door.refresh(session["refresh_token"])
        assert (200 if refreshed else 401) == reply.status_code


class TestRoles:
    """A refresh carries the roles that the person has now."""

    async def test_a_view_younger_than_a_minute_is_not_asked_about(self, door: Door, users: FakeUsers) -> None:
        first = await door.signed_up("ann", slug="acme")
        users.calls.clear()
        await door.refresh(first["refresh_token"])
        assert users.calls == []

    async def test_an_older_view_is_asked_about(self, door: Door, users: FakeUsers) -> None:
        first = await door.signed_up("ann", slug="acme")
        users.add_member("acme", claims_of(first)["sub"], roles=["moderator"])
        await door.a_minute_passes()
        second = (await door.refresh(first["refresh_token"])).json()
        assert claims_of(second)["roles"] == ["moderator"]
        assert "chat:moderate" in second["scope"].split()
        assert "tenant:write" not in second["scope"].split()

    async def test_while_users_is_away_the_view_goes_on(self, door: Door, users: FakeUsers) -> None:
        first = await door.signed_up("ann", slug="acme")
        await door.a_minute_passes()
        users.down = True
        assert claims_of((await door.refresh(first["refresh_token"])).json())["roles"] == ["admin"]

    async def test_an_ended_membership_refuses_the_refresh_and_is_remembered(
        self, door: Door, users: FakeUsers
    ) -> None:
        first = await door.signed_up("ann", slug="acme")
        users.end_member("acme", claims_of(first)["sub"])
        await door.a_minute_passes()
        assert problem(await door.refresh(first["refresh_token"])) == (401, "membership_ended")
        ended = await door.rows("SELECT generation, end_reason FROM sessions")
        assert ended == [{"generation": 0, "end_reason": "membership_ended"}]
        assert await door.rows("SELECT data FROM outbox WHERE type = 'session.revoked.v1'") == [
            {"data": {"user_id": claims_of(first)["sub"], "reason": "membership_ended"}}
        ]
        users.down = True
        assert problem(await door.refresh(first["refresh_token"])) == (401, "refresh_refused")

    async def test_a_suspended_tenant_refuses_the_refresh(self, door: Door, users: FakeUsers) -> None:
        first = await door.signed_up("ann", slug="acme")
        users.tenants["acme"]["status"] = "suspended"
        await door.a_minute_passes()
        assert problem(await door.refresh(first["refresh_token"])) == (401, "membership_ended")
        users.tenants["acme"]["status"] = "active"
        await door.a_minute_passes()
        assert (await door.refresh(first["refresh_token"])).status_code == 200


class TestFeed:
    """What the feed of users-service contradicts is asked about however young the view is."""

    @pytest.fixture
    def settings_values(self, settings_values: dict[str, Any]) -> dict[str, Any]:
        return settings_values | {"revocations": {"feeds": ("users",), "interval_s": 0.05}}

    async def test_changed_roles_come_with_the_next_refresh(
        self, door: Door, users: FakeUsers, resources: Resources
    ) -> None:
        first = await door.signed_up("ann", slug="acme")
        who = principal_of(first)
        users.add_member("acme", str(who.user_id), roles=["user"])
        users.entries.append(_entry(who.tenant_id, who.user_id, ["user"], who.expires_at + 60))
        await _heard(resources, who)
        second = (await door.refresh(first["refresh_token"])).json()
        assert claims_of(second)["roles"] == ["user"]
        assert resources.get(Revocations).ended(principal_of(second)) is None

    async def test_changed_roles_come_with_the_next_sign_in(
        self, door: Door, users: FakeUsers, resources: Resources
    ) -> None:
        first = await door.signed_up("ann", slug="acme")
        who = principal_of(first)
        users.add_member("acme", str(who.user_id), roles=["user"])
        users.entries.append(_entry(who.tenant_id, who.user_id, ["user"], who.expires_at + 60))
        await _heard(resources, who)
        second = (await door.login("ann")).json()
        assert claims_of(second)["roles"] == ["user"]
        assert resources.get(Revocations).ended(principal_of(second)) is None


def _entry(tenant_id: UUID | None, user_id: UUID, roles: list[str], expires_at: int) -> dict[str, Any]:
    return {
        "kind": "membership",
        "tenant_id": str(tenant_id),
        "user_id": str(user_id),
        "roles": roles,
        "expires_at": expires_at,
    }


async def _heard(resources: Resources, who: Principal) -> None:
    await eventually(lambda: resources.get(Revocations).ended(who), saying="the feed was heard")
