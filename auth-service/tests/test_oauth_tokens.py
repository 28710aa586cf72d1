"""The token endpoint beside codes: refresh, client credentials; introspection and revocation; discovery."""

import asyncio
from typing import Any

import pytest

from shared.identity import Revocations
from shared.resources import Resources
from shared.testing import eventually
from shared.testing.fakes import FakeUsers

from .door import Door, claims_of, principal_of, problem
from .oauth import ISSUER, Browser, OAuthClient, code_for, registered
from .test_clients import MACHINE


@pytest.fixture
async def admin(door: Door) -> dict[str, Any]:
    """Ann, the admin of a tenant."""
    return await door.signed_up("ann", slug="acme")


@pytest.fixture
async def client_app(door: Door, admin: dict[str, Any]) -> OAuthClient:
    return await registered(door, admin)


@pytest.fixture
async def browser(door: Door, admin: dict[str, Any]) -> Browser:
    """Ann's browser, signed in."""
    found = Browser(door)
    await found.sign_in("ann")
    return found


@pytest.fixture
async def tokens(browser: Browser, client_app: OAuthClient) -> dict[str, Any]:
    """What the client has of Ann."""
    body: dict[str, Any] = (await client_app.redeem(await code_for(browser, client_app))).json()
    return body


async def test_a_client_learns_the_address_with_the_scope_email_alone(
    door: Door, admin: dict[str, Any], client_app: OAuthClient, tokens: dict[str, Any]
) -> None:
    browser = Browser(door)
    await browser.sign_in("ann")
    asked = await code_for(browser, client_app, scope="openid email")
    allowed = (await client_app.redeem(asked)).json()
    shown = [(await door.client.get("/auth/me", headers=door.bearer(one))).json() for one in (admin, tokens, allowed)]
    assert [one["email"] for one in shown] == ["ann@example.com", None, "ann@example.com"]


async def test_a_refresh_keeps_or_shrinks_the_scope(client_app: OAuthClient, tokens: dict[str, Any]) -> None:
    same = (await client_app.refresh(tokens["refresh_token"])).json()
    assert same["scope"] == "jobs:read openid"
    narrower = (await client_app.refresh(same["refresh_token"], scope="jobs:read")).json()
    assert (narrower["scope"], claims_of(narrower)["scope"], "id_token" in narrower) == (
        "jobs:read",
        "jobs:read",
        False,
    )
    wider = await client_app.refresh(narrower["refresh_token"], scope="jobs:read chat:read")
    assert (wider.status_code, wider.json()["error"]) == (400, "invalid_scope")
    whole = (await client_app.refresh(narrower["refresh_token"])).json()
    assert whole["scope"] == "jobs:read openid"


async def test_a_refresh_token_is_its_clients_own(
    door: Door, admin: dict[str, Any], client_app: OAuthClient, tokens: dict[str, Any]
) -> None:
    other = await registered(door, admin)
    stolen = await other.refresh(tokens["refresh_token"])
    assert (stolen.status_code, stolen.json()["error"]) == (400, "invalid_grant")
    assert problem(await door.refresh(tokens["refresh_token"])) == (401, "refresh_refused")
    own = await client_app.refresh(admin["refresh_token"])
    assert own.json()["error"] == "invalid_grant"
    assert (await client_app.refresh(tokens["refresh_token"])).status_code == 200, "none of these rotated it"


@pytest.mark.parametrize("method", ["client_secret_basic", "none"])
async def test_a_reused_refresh_token_ends_the_clients_session(
    door: Door, admin: dict[str, Any], browser: Browser, method: str
) -> None:
    client = await registered(door, admin, token_endpoint_auth_method=method)
    first = (await client.redeem(await code_for(browser, client))).json()["refresh_token"]
    second = (await client.refresh(first)).json()["refresh_token"]
    assert (await client.refresh(first)).json()["refresh_token"] == second, "a lost answer is repeated"
    third = (await client.refresh(second)).json()["refresh_token"]
    assert (await client.refresh(first)).json()["error"] == "invalid_grant"
    assert (await client.refresh(third)).json()["error"] == "invalid_grant"


async def test_a_client_without_the_grant_gets_no_refresh_token(
    door: Door, admin: dict[str, Any], browser: Browser
) -> None:
    client = await registered(door, admin, grant_types=["authorization_code"])
    reply = await client.redeem(await code_for(browser, client))
    assert (reply.status_code, "refresh_token" in reply.json()) == (200, False)


async def test_eight_refreshes_at_once_have_one_successor(client_app: OAuthClient, tokens: dict[str, Any]) -> None:
    replies = await asyncio.gather(*(client_app.refresh(tokens["refresh_token"]) for _ in range(8)))
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.json()["refresh_token"] for reply in replies}) == 1


async def test_a_client_acts_for_itself(door: Door, admin: dict[str, Any]) -> None:
    machine = await registered(door, admin, **MACHINE)
    reply = await machine.post("token", {"grant_type": "client_credentials", "scope": "jobs:read admin:write"})
    assert (reply.status_code, reply.json()["scope"], "refresh_token" in reply.json()) == (200, "jobs:read", False)
    claims = claims_of(reply.json())
    assert (claims["sub"], claims["client_id"], claims["sid"]) == (machine.id, machine.id, machine.id)
    assert (claims["tenant_slug"], claims["roles"], claims["aud"]) == ("acme", ["user"], ISSUER)
    whole = await machine.post("token", {"grant_type": "client_credentials"})
    assert whole.json()["scope"] == "jobs:read jobs:write"
    none = await machine.post("token", {"grant_type": "client_credentials", "scope": "system:write"})
    assert (none.status_code, none.json()["error"]) == (400, "invalid_scope")
    assert problem(await door.client.get("/auth/me", headers=door.bearer(whole.json())))[0] == 401


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "invalid_request"),
        ({"grant_type": "password", "username": "ann", "password": "Sail-away-7"}, "unsupported_grant_type"),
        ({"grant_type": "implicit"}, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, "unauthorized_client"),
        ({"grant_type": "refresh_token"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
        ({"grant_type": "authorization_code"}, "invalid_grant"),
    ],
)
async def test_what_is_wrong_with_a_grant_is_said(client_app: OAuthClient, form: dict[str, str], error: str) -> None:
    reply = await client_app.post("token", form)
    assert (reply.status_code, reply.json()["error"]) == (400, error)
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["error_description"]


async def test_only_a_form_is_read(door: Door, client_app: OAuthClient) -> None:
    as_json = await door.client.post("/oauth2/token", json={"grant_type": "client_credentials"})
    assert (as_json.status_code, as_json.json()["error"]) == (400, "invalid_request")
    in_url = await door.client.post("/oauth2/token?grant_type=client_credentials", data={"client_id": client_app.id})
    assert (in_url.status_code, in_url.json()["error"]) == (400, "invalid_request")
    twice = "grant_type=refresh_token&grant_type=client_credentials"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    repeated = await door.client.post("/oauth2/token", content=twice, headers=form)
    assert (repeated.status_code, repeated.json()["error"]) == (400, "invalid_request")


async def test_a_token_is_introspected_as_it_is_now(
    door: Door, admin: dict[str, Any], client_app: OAuthClient, tokens: dict[str, Any]
) -> None:
    shown = (await client_app.post("introspect", {"token": tokens["access_token"]})).json()
    claims = claims_of(tokens)
    assert shown["active"] is True
    assert {name: shown[name] for name in ("sub", "client_id", "scope", "jti", "tenant_slug", "username")} == {
        "sub": claims["sub"],
        "client_id": client_app.id,
        "scope": "jobs:read openid",
        "jti": claims["jti"],
        "tenant_slug": "acme",
        "username": "ann",
    }
    refresh = (await client_app.post("introspect", {"token": tokens["refresh_token"]})).json()
    assert (refresh["active"], refresh["token_type"], refresh["client_id"]) == (True, "refresh_token", client_app.id)
    bob = await door.signed_up("bob", slug="globex")
    elsewhere = await registered(door, bob)
    machine = await registered(door, bob, **MACHINE)
    machines = (await machine.post("token", {"grant_type": "client_credentials"})).json()["access_token"]
    assert (await machine.post("introspect", {"token": machines})).json()["active"] is True
    for bent in ("x", tokens["access_token"][:-2] + "AA", tokens["id_token"], bob["access_token"], machines):
        assert (await client_app.post("introspect", {"token": bent})).json() == {"active": False}
    assert (await elsewhere.post("introspect", {"token": tokens["access_token"]})).json() == {"active": False}
    assert (await elsewhere.post("introspect", {"token": tokens["refresh_token"]})).json() == {"active": False}
    await door.client.post("/auth/logout", headers=door.bearer(tokens))
    assert (await client_app.post("introspect", {"token": tokens["access_token"]})).json() == {"active": False}
    assert (await client_app.post("introspect", {"token": tokens["refresh_token"]})).json() == {"active": False}


async def test_a_public_client_introspects_nothing(door: Door, admin: dict[str, Any]) -> None:
    public = await registered(door, admin, token_endpoint_auth_method="none")
    reply = await public.post("introspect", {"token": admin["access_token"]})
    assert (reply.status_code, reply.json()["error"]) == (401, "invalid_client")


async def test_a_client_revokes_its_own_tokens_only(
    door: Door, admin: dict[str, Any], client_app: OAuthClient, tokens: dict[str, Any]
) -> None:
    other = await registered(door, admin)
    for token in (tokens["access_token"], tokens["refresh_token"], "unknown"):
        assert (await other.post("revoke", {"token": token})).status_code == 200
    assert (await client_app.post("introspect", {"token": tokens["access_token"]})).json()["active"] is True
    assert (await client_app.post("revoke", {"token": tokens["access_token"]})).status_code == 200
    assert (await client_app.post("introspect", {"token": tokens["access_token"]})).json() == {"active": False}
    refreshed = (await client_app.refresh(tokens["refresh_token"])).json()
    assert (await client_app.post("revoke", {"token": refreshed["refresh_token"]})).status_code == 200
    assert (await client_app.refresh(refreshed["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await client_app.post("introspect", {"token": refreshed["access_token"]})).json() == {"active": False}
    assert (await client_app.post("revoke", {})).json()["error"] == "invalid_request"


async def test_a_token_for_another_resource_is_for_nothing_else(door: Door, admin: dict[str, Any]) -> None:
    client = await registered(door, admin, resources=["https://reports.example"])
    browser = Browser(door)
    await browser.sign_in("ann")
    code = await code_for(browser, client, resource="https://reports.example")
    tokens = (await client.redeem(code)).json()
    assert claims_of(tokens)["aud"] == "https://reports.example"
    refreshed = (await client.refresh(tokens["refresh_token"])).json()
    assert claims_of(refreshed)["aud"] == "https://reports.example"
    moved = await client.refresh(refreshed["refresh_token"], resource=ISSUER)
    assert (moved.status_code, moved.json()["error"]) == (400, "invalid_target")
    unknown = await client.refresh(refreshed["refresh_token"], resource="https://unknown.example")
    assert (unknown.status_code, unknown.json()["error"]) == (400, "invalid_target")
    assert principal_of(tokens).client_id == client.id
    own = (await client.redeem(await code_for(browser, client))).json()
    moved = await client.refresh(own["refresh_token"], resource="https://reports.example")
    assert (moved.status_code, moved.json()["error"]) == (400, "invalid_target")
    kept = await client.refresh(own["refresh_token"], resource=ISSUER)
    assert claims_of(kept.json())["aud"] == ISSUER


async def test_discovery_says_where_everything_is(door: Door) -> None:
    openid = await door.client.get("/.well-known/openid-configuration")
    oauth = await door.client.get("/.well-known/oauth-authorization-server")
    assert openid.json() == oauth.json()
    assert "max-age" in openid.headers["cache-control"]
    said = openid.json()
    assert said["issuer"] == ISSUER
    assert said["code_challenge_methods_supported"] == ["S256"]
    assert said["id_token_signing_alg_values_supported"] == ["RS256"]
    assert said["authorization_response_iss_parameter_supported"] is True
    for name in ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri", "introspection_endpoint"):
        assert said[name].startswith(f"{ISSUER}/oauth2/")


EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


async def test_a_resource_server_exchanges_the_token_that_it_was_sent(door: Door, admin: dict[str, Any]) -> None:
    reports = "https://reports.example"
    planner = await registered(door, admin, resources=[reports])
    server = await registered(
        door, admin, client_name="Reports", grant_types=[EXCHANGE], scope="jobs:read", resources=[reports]
    )
    stranger = await registered(door, admin, client_name="Other", grant_types=[EXCHANGE], scope="jobs:read")
    browser = Browser(door)
    await browser.sign_in("ann")
    tokens = (await planner.redeem(await code_for(browser, planner, resource=reports))).json()
    form = {"grant_type": EXCHANGE, "subject_token": tokens["access_token"], "subject_token_type": ACCESS_TOKEN}
    reply = await server.post("token", form)
    assert (reply.status_code, reply.json()["issued_token_type"], reply.json()["scope"]) == (
        200,
        ACCESS_TOKEN,
        "jobs:read",
    )
    claims, subject = claims_of(reply.json()), claims_of(tokens)
    assert (claims["aud"], claims["sub"], claims["sid"]) == (ISSUER, subject["sub"], subject["sid"])
    assert (claims["act"], claims["client_id"]) == ({"sub": server.id}, server.id)
    assert claims["exp"] <= subject["exp"]
    assert "refresh_token" not in reply.json()
    again = {**form, "subject_token": reply.json()["access_token"]}
    assert claims_of((await server.post("token", again)).json())["act"] == {
        "sub": server.id,
        "act": {"sub": server.id},
    }
    for client, changes, error in (
        (stranger, {}, "invalid_request"),
        (server, {"subject_token": "x"}, "invalid_request"),
        (server, {"subject_token": admin["access_token"]}, "invalid_request"),
        (server, {"subject_token_type": "urn:ietf:params:oauth:token-type:id_token"}, "invalid_request"),
        (server, {"actor_token": "x"}, "invalid_request"),
        (server, {"scope": "chat:read"}, "invalid_scope"),
        (server, {"resource": "https://unknown.example"}, "invalid_target"),
    ):
        refused = await client.post("token", form | changes)
        assert (refused.status_code, refused.json()["error"]) == (400, error)
    exchanged = (await server.post("token", form)).json()
    assert (await door.client.post("/auth/logout", headers=door.bearer(exchanged))).status_code == 204
    assert (await planner.post("introspect", {"token": tokens["access_token"]})).json()["active"] is True
    assert (await server.post("introspect", {"token": exchanged["access_token"]})).json()["active"] is False
    await door.client.delete("/auth/sessions", headers=door.bearer((await door.login("ann")).json()))
    assert (await server.post("token", form)).json()["error"] == "invalid_request"


class TestFeed:
    """What users-service has ended since a token was signed."""

    @pytest.fixture
    def settings_values(self, settings_values: dict[str, Any]) -> dict[str, Any]:
        return settings_values | {"revocations": {"feeds": ("users",), "interval_s": 0.05}}

    @pytest.mark.parametrize("kind", ["membership", "tenant"])
    async def test_a_token_that_it_has_ended_is_worth_nothing(
        self, kind: str, door: Door, users: FakeUsers, resources: Resources, admin: dict[str, Any]
    ) -> None:
        both = {"grant_types": ["client_credentials", EXCHANGE], "resources": [ISSUER]}
        server = await registered(door, admin, **MACHINE | both)
        form = {"grant_type": EXCHANGE, "subject_token": admin["access_token"], "subject_token_type": ACCESS_TOKEN}
        assert (await server.post("token", form)).status_code == 200
        own = (await server.post("token", {"grant_type": "client_credentials"})).json()
        held, who = [admin, own] if kind == "tenant" else [admin], principal_of(admin)
        for tokens in held:
            assert (await server.post("introspect", {"token": tokens["access_token"]})).json()["active"] is True
        about = {
            "membership": {"tenant_id": str(who.tenant_id), "user_id": str(who.user_id), "roles": ["user"]},
            "tenant": {"id": str(who.tenant_id), "suspended": True},
        }
        users.entries.append({"kind": kind, "expires_at": who.expires_at + 60, **about[kind]})
        await eventually(lambda: resources.get(Revocations).ended(who), saying="the feed was heard")
        for tokens in held:
            assert (await server.post("introspect", {"token": tokens["access_token"]})).json() == {"active": False}
        assert (await server.post("token", form)).json()["error"] == "invalid_request"
