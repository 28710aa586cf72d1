"""What a tenant has chosen, as users-service's events report it: second factors and lifetimes of its sessions."""

from typing import Any

import pytest

from shared.testing.fakes import FakeUsers

from .door import PASSWORD, Door, claims_of, problem
from .events import chosen_settings
from .factors import post
from .oauth import Browser, answer_of, code_for, registered

HOUR = 3600


async def time_passes(door: Door, interval: str, *columns: str) -> None:
    """Sessions are that much older, by these columns."""
    changes = ", ".join(f"{column} = {column} - CAST(:by AS text)::interval" for column in columns)
    await door.run(f"UPDATE sessions SET {changes}", by=interval)  # noqa: S608 - the test's own columns


async def test_a_tenant_requires_a_second_factor_of_its_own_members(door: Door, users: FakeUsers) -> None:
    ann, bob = await door.signed_up("ann", slug="acme"), await door.signed_up("bob", slug="globex")
    await chosen_settings(door, users, "acme", {"mfa_required": True})
    assert problem(await door.refresh(ann["refresh_token"])) == (401, "second_factor_missing")
    assert problem(await door.login("ann")) == (401, "mfa_required")
    stepped_up = await post(door, "/step-up", ann, method="password", password=PASSWORD)
    assert problem(stepped_up) == (401, "second_factor_missing")
    assert (await door.refresh(bob["refresh_token"])).status_code == 200
    assert (await door.login("bob")).status_code == 200
    users.add_member("acme", claims_of(bob)["sub"], roles=["user"])
    opened = await door.client.post("/auth/sessions", json={"tenant": "acme"}, headers=door.bearer(bob))
    assert problem(opened) == (401, "insufficient_user_authentication")
    await chosen_settings(door, users, "acme", {"mfa_required": False}, version=3)
    assert (await door.refresh(ann["refresh_token"])).status_code == 200


@pytest.mark.parametrize("fresh", [True, False], ids=["one statement", "step by step"])
@pytest.mark.parametrize(
    ("chosen", "remember_me", "lives", "ends"),
    [
        ({"idle_ttl_s": HOUR}, False, "59 minutes", "61 minutes"),
        ({"idle_ttl_s": HOUR}, True, "29 days", "31 days"),
        ({"remembered_idle_ttl_s": HOUR}, True, "59 minutes", "61 minutes"),
        ({"idle_ttl_s": 40 * 24 * HOUR}, False, "11 hours", "13 hours"),  # the operator's is shorter
        ({}, False, "11 hours", "13 hours"),
    ],
    ids=str,
)
async def test_a_tenant_shortens_how_long_its_sessions_may_be_idle(
    door: Door, users: FakeUsers, chosen: Any, *, remember_me: bool, lives: str, ends: str, fresh: bool
) -> None:
    await door.register("ann", slug="acme")
    tokens = (await door.login("ann", remember_me=remember_me)).json()
    await chosen_settings(door, users, "acme", chosen)
    if not fresh:
        await door.a_minute_passes()
    await time_passes(door, lives, "last_seen_at")
    again = await door.refresh(tokens["refresh_token"])
    assert again.status_code == 200
    if not fresh:
        await door.a_minute_passes()
    await time_passes(door, ends, "last_seen_at")
    assert problem(await door.refresh(again.json()["refresh_token"])) == (401, "refresh_refused")
    now = (await door.login("ann")).json()
    listed = await door.client.get("/auth/sessions", headers=door.bearer(now))
    assert [one["id"] for one in listed.json()["items"]] == [now["session_id"]]


async def test_a_tenant_shortens_how_long_its_sessions_live(door: Door, users: FakeUsers) -> None:
    acme, globex = await door.signed_up("ann", slug="acme"), await door.signed_up("bob", slug="globex")
    await chosen_settings(door, users, "acme", {"max_ttl_s": HOUR})
    await time_passes(door, "59 minutes", "created_at", "auth_time")
    again = await door.refresh(acme["refresh_token"])
    assert again.status_code == 200
    await time_passes(door, "2 minutes", "created_at", "auth_time")
    assert problem(await door.refresh(again.json()["refresh_token"])) == (401, "refresh_refused")
    assert (await door.refresh(globex["refresh_token"])).status_code == 200


async def test_a_session_opened_from_an_older_one_lives_no_longer(door: Door, users: FakeUsers) -> None:
    ann = await door.signed_up("ann", slug="globex")
    users.add_tenant("acme")
    users.add_member("acme", claims_of(ann)["sub"], roles=["user"])
    await chosen_settings(door, users, "acme", {"max_ttl_s": HOUR})
    await time_passes(door, "50 minutes", "created_at", "auth_time")
    opened = await door.client.post("/auth/sessions", json={"tenant": "acme"}, headers=door.bearer(ann))
    assert opened.status_code == 201
    await time_passes(door, "11 minutes", "created_at", "auth_time")
    assert problem(await door.refresh(opened.json()["refresh_token"])) == (401, "refresh_refused")
    late = await door.client.post("/auth/sessions", json={"tenant": "acme"}, headers=door.bearer(ann))
    assert problem(late) == (401, "insufficient_user_authentication")
    assert f'max_age="{HOUR}"' in late.headers["www-authenticate"]
    assert (await door.refresh(ann["refresh_token"])).status_code == 200  # globex has no such rule


async def test_a_client_gets_no_tokens_for_a_tenant_by_an_older_sign_in(door: Door, users: FakeUsers) -> None:
    ann = await door.signed_up("ann", slug="globex")
    users.add_tenant("acme")
    users.add_member("acme", claims_of(ann)["sub"], roles=["admin"])
    acme = (await door.login("ann", tenant="acme")).json()
    client = await registered(door, acme)
    await door.login("ann", tenant="globex")
    browser = Browser(door)
    await browser.sign_in("ann")
    await chosen_settings(door, users, "acme", {"max_ttl_s": HOUR})
    tokens = await client.redeem(await code_for(browser, client))
    assert tokens.status_code == 200
    unused = await code_for(browser, client)
    await door.run("UPDATE sessions SET auth_time = auth_time - interval '61 minutes' WHERE client_id = 'flotilla'")
    assert (await client.redeem(unused)).json()["error"] == "invalid_grant"
    silent = answer_of(await browser.get("/oauth2/authorize", client.query(prompt="none")))
    assert silent["error"] == "login_required"
    asked = await browser.get("/oauth2/authorize", client.query())
    assert asked.headers["location"].startswith("/auth/pages/sign-in?")


async def test_what_cannot_be_used_counts_as_not_set(door: Door, users: FakeUsers) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    wrong = {
        "mfa_required": "yes",
        "idle_ttl_s": 5,
        "max_ttl_s": "soon",
        "branding": {"name": "\u202e", "color": "red", "logo": "https://evil.example/x.png"},
        "mail_texts": {"en": {"intro": ["x"]}, "xx": {"intro": "x"}},
        "later": {"more": 1},
    }
    await chosen_settings(door, users, "acme", wrong)
    assert (await door.refresh(tokens["refresh_token"])).status_code == 200
    [row] = await door.rows("SELECT settings::text AS text FROM tenants WHERE slug = 'acme'")
    assert "evil" not in row["text"]
    assert "later" not in row["text"]


async def test_an_event_without_settings_keeps_those_that_are_stored(door: Door, users: FakeUsers) -> None:
    await door.signed_up("ann", slug="acme")
    await chosen_settings(door, users, "acme", {"mfa_required": True})
    await chosen_settings(door, users, "acme", None, version=3)
    await door.a_minute_passes()
    assert problem(await door.login("ann")) == (401, "mfa_required")
    await chosen_settings(door, users, "acme", {}, version=4)
    assert (await door.login("ann")).status_code == 200
