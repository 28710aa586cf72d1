"""Scopes: the registry, sessions that are limited to some, and why a scope is not granted."""

from typing import Any

from .door import Door, claims_of, problem


async def test_every_scope_is_listed_with_its_roles(door: Door) -> None:
    reply = await door.client.get("/oauth2/scopes")
    by_name = {scope["name"]: scope for scope in reply.json()["scopes"]}
    assert by_name["jobs:write"] == {
        "name": "jobs:write",
        "description": "Submit, cancel and retry the caller's jobs.",
        "category": "jobs",
        "sensitive": False,
        "roles": ["user", "analyst", "moderator", "admin", "system"],
    }
    assert by_name["system:write"]["roles"] == ["system"]
    sensitive = await door.client.get("/oauth2/scopes", params={"sensitive": "true", "category": "openid"})
    assert {scope["name"] for scope in sensitive.json()["scopes"]} == {"email", "offline_access"}
    assert problem(await door.client.get("/oauth2/scopes", params={"colour": "red"})) == (422, "invalid_input")


async def test_a_session_never_has_more_than_its_sign_in_requested(door: Door) -> None:
    await door.signed_up("ann", slug="acme")
    tokens = (await door.login("ann", scope="jobs:read system:write made:up")).json()
    assert tokens["scope"] == "jobs:read"
    assert claims_of(tokens)["scope"] == "jobs:read"
    refreshed = (await door.refresh(tokens["refresh_token"])).json()
    assert refreshed["scope"] == "jobs:read"
    elsewhere = await door.client.post("/auth/sessions", json={"tenant": "acme"}, headers=door.bearer(tokens))
    assert (elsewhere.status_code, elsewhere.json()["scope"]) == (201, "jobs:read")
    assert "tenant:write" in (await door.login("ann")).json()["scope"].split()


async def test_a_sign_in_without_any_granted_scope_is_refused(door: Door) -> None:
    await door.signed_up("ann", slug="acme")
    sessions = await door.rows("SELECT 1 FROM sessions")
    assert problem(await door.login("ann", scope="made:up system:write")) == (400, "scope_invalid")
    assert await door.rows("SELECT 1 FROM sessions") == sessions
    assert (await door.login("ann", scope="")).status_code == 200


async def test_the_form_limits_a_session_too(door: Door) -> None:
    await door.signed_up("ann", slug="acme")
    form = {"username": "ann", "password": "Sail-away-7", "grant_type": "password", "scope": "chat:read"}
    reply = await door.client.post("/auth/login", data=form)
    assert reply.json()["scope"] == "chat:read"


async def test_why_a_scope_is_not_granted_is_explained(door: Door) -> None:
    await door.signed_up("ann", slug="acme")
    tokens = (await door.login("ann", scope="jobs:read chat:read")).json()
    reply = await door.client.get(
        "/oauth2/my-scopes",
        params={"scope": "jobs:read files:read system:write made:up"},
        headers=door.bearer(tokens),
    )
    assert reply.json() == {
        "scope": "chat:read jobs:read",
        "roles": ["admin"],
        "scopes": [
            {"name": "files:read", "granted": False, "reason": "session"},
            {"name": "jobs:read", "granted": True, "reason": None},
            {"name": "made:up", "granted": False, "reason": "unknown"},
            {"name": "system:write", "granted": False, "reason": "roles"},
        ],
    }
    everything: Any = (await door.client.get("/oauth2/my-scopes", headers=door.bearer(tokens))).json()
    assert {one["name"] for one in everything["scopes"] if one["granted"]} == {"jobs:read", "chat:read"}
    assert problem(await door.client.get("/oauth2/my-scopes")) == (401, "unauthenticated")
