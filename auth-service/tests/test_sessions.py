"""Signing in, the choice of a tenant, and every way to end a session."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from argon2 import PasswordHasher

from shared import deadline
from shared.identity import scopes_of
from shared.ids import new_id
from shared.testing.fakes import FakeUsers

from .door import PASSWORD, Door, claims_of, new_password, principal_of, problem


async def test_the_access_token_is_as_rfc_9068_says(door: Door, users: FakeUsers) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    claims = claims_of(tokens)
    tenant = users.tenants["acme"]
    assert {name: claims[name] for name in ("iss", "aud", "client_id", "preferred_username", "user_epoch")} == {
        "iss": "http://localhost:8000",
        "aud": "http://localhost:8000",
        "client_id": "flotilla",
        "preferred_username": "ann",
        "user_epoch": 0,
    }
    assert (claims["tenant"], claims["tenant_slug"], claims["tier"]) == (tenant["id"], "acme", "free")
    assert claims["roles"] == ["admin"]
    assert (claims["membership_version"], claims["tenant_version"]) == (1, 1)
    assert set(claims["scope"].split()) == scopes_of(["admin"]) == set(tokens["scope"].split())
    assert claims["exp"] - claims["iat"] == 600 == tokens["expires_in"]
    assert claims["sid"] == tokens["session_id"]
    assert claims.keys() == {
        *("iss", "sub", "aud", "exp", "iat", "jti", "sid", "tenant", "tenant_slug", "roles", "scope", "tier"),
        *("user_epoch", "membership_version", "tenant_version", "client_id", "preferred_username"),
        *("auth_time", "amr", "acr"),
    }


async def test_one_signs_in_by_username_or_email_without_regard_to_case(door: Door) -> None:
    await door.signed_up("ann", slug="acme")
    for name in ("ANN", "Ann@Example.com"):
        assert (await door.login(name)).status_code == 200


async def test_an_email_is_the_same_however_it_is_spelt(door: Door) -> None:
    assert (await door.register("ann", email="änn@exämple.com")).status_code == 201
    for spelt in ("änn@exämple.com", "a\u0308nn@exa\u0308mple.com", "änn@xn--exmple-cua.com", "änn@EXÄMPLE.com"):
        assert (await door.login(spelt)).status_code == 200, spelt
    for other in ("ann@exämple.com", "@", "änn@exämple.com@", "a b@example.com"):
        assert problem(await door.login(other)) == (401, "sign_in_refused"), other
    assert problem(await door.register("bob", email="änn@xn--exmple-cua.com")) == (409, "email_taken")


async def test_swagger_signs_in_with_a_form(door: Door) -> None:
    await door.signed_up("ann", slug="acme")
    form = {"grant_type": "password", "username": "ann", "password": PASSWORD, "scope": "", "client_id": ""}
    reply = await door.client.post("/auth/login", data=form)
    assert reply.status_code == 200
    assert reply.json()["token_type"] == "Bearer"


@pytest.mark.parametrize("name", ["ann", "nobody"])
async def test_a_refused_sign_in_leaves_a_trace_and_tells_nothing(door: Door, name: str) -> None:
    await door.signed_up("ann", slug="acme")
    reply = await door.login(name, "Wrong-word-7")
    assert problem(reply) == (401, "sign_in_refused")
    assert reply.headers["www-authenticate"].startswith("Bearer")
    assert reply.json()["detail"] == "Username or password is wrong."
    assert len(await door.rows("SELECT 1 FROM security_events WHERE kind = 'sign_in_refused'")) == 1
    assert len(await door.rows("SELECT 1 FROM sign_in_failures")) == 1  # from loopback: the account's only


async def test_bad_sign_ins_are_told_what_is_wrong(door: Door) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for content, headers, expected in (
        (b"username=ann&password=%ff", form, (400, "malformed_request")),
        (b"username=ann&password=a%00b", form, (422, "invalid_input")),
        (b"username=ann&username=bob&password=x", form, (422, "invalid_input")),
        (b"username=ann&password=x&admin=1", form, (422, "invalid_input")),
        (b"username=ann&password=x&grant_type=implicit", form, (422, "invalid_input")),
        (b"username=\xc3\xa4&password=x", form, (400, "malformed_request")),
        (b"a=1&" * 121, form, (400, "malformed_request")),
        (b"<ann/>", {"Content-Type": "text/xml"}, (415, "unsupported_media_type")),
        (b"{}", {}, (415, "unsupported_media_type")),
        (b'{"username": "ann"}', {"Content-Type": "application/json"}, (422, "invalid_input")),
        (b'{"username": ["ann"], "password": "x"}', {"Content-Type": "application/json"}, (422, "invalid_input")),
        (
            b'{"username": "ann", "password": "x", "cookie": "yes"}',
            {"Content-Type": "application/json"},
            (422, "invalid_input"),
        ),
    ):
        reply = await door.client.post("/auth/login", content=content, headers=headers)
        assert problem(reply) == expected, content
    missing = await door.client.post("/auth/login", json={"username": "ann"})
    assert [error["pointer"] for error in missing.json()["errors"]] == ["#/password"]


class TestEnding:
    async def test_a_logout_ends_the_session_its_tokens_and_tells_the_fleet(self, door: Door) -> None:
        tokens = await door.signed_up("ann", slug="acme")
        before = (await _feed(door, {})).json()
        assert before["entries"] == []

        assert (await door.client.post("/auth/logout", headers=door.bearer(tokens))).status_code == 204
        assert problem(await door.refresh(tokens["refresh_token"])) == (401, "refresh_refused")
        for path in ("/auth/me", "/auth/sessions"):
            assert problem(await door.client.get(path, headers=door.bearer(tokens))) == (401, "invalid_token")
        after = (await _feed(door, {"after": before["next"]})).json()
        assert [(entry["kind"], entry["id"]) for entry in after["entries"]] == [("session", tokens["session_id"])]
        assert after["entries"][0]["expires_at"] > claims_of(tokens)["exp"]
        events = await door.rows("SELECT data FROM outbox WHERE type = 'session.revoked.v1'")
        assert events == [{"data": {"user_id": claims_of(tokens)["sub"], "reason": "logout"}}]

    async def test_logout_all_ends_every_session_and_a_new_sign_in_counts(self, door: Door) -> None:
        first = await door.signed_up("ann", slug="acme")
        second = (await door.login("ann")).json()
        reply = await door.client.post("/auth/logout-all", headers=door.bearer(first))
        assert reply.json() == {"sessions_ended": 2}
        for tokens in (first, second):
            assert problem(await door.client.get("/auth/me", headers=door.bearer(tokens))) == (401, "invalid_token")
            assert problem(await door.refresh(tokens["refresh_token"])) == (401, "refresh_refused")
        entries = (await door.client.get("/internal/revocations", headers=door.people.service("chat"))).json()[
            "entries"
        ]
        assert [(entry["kind"], entry["epoch"]) for entry in entries] == [("user", 1)]
        third = (await door.login("ann")).json()
        assert claims_of(third)["user_epoch"] == 1
        assert (await door.client.get("/auth/me", headers=door.bearer(third))).status_code == 200

    async def test_no_session_slips_past_a_logout_all(self, door: Door, users: FakeUsers) -> None:
        """One that is being opened from a session that ends meanwhile is not opened."""
        first = await door.signed_up("ann", slug="acme")
        bearer = door.bearer(first)
        await door.a_minute_passes()  # so that opening asks users-service, and time passes in that

        async def elsewhere() -> None:
            assert (await door.client.post("/auth/logout-all", headers=bearer)).json() == {"sessions_ended": 1}

        users.before_answer = elsewhere
        reply = await door.client.post("/auth/sessions", json={"tenant": "acme"}, headers=bearer)
        assert problem(reply) == (401, "invalid_token")
        assert await door.rows("SELECT 1 FROM sessions WHERE ended_at IS NULL") == []

    async def test_a_sign_in_beside_a_logout_all_counts(self, door: Door, users: FakeUsers) -> None:
        first = await door.signed_up("ann", slug="acme")
        await door.a_minute_passes()

        async def elsewhere() -> None:
            await door.client.post("/auth/logout-all", headers=door.bearer(first))

        users.before_answer = elsewhere
        second = (await door.login("ann")).json()
        assert claims_of(second)["user_epoch"] == 1
        assert (await door.client.get("/auth/me", headers=door.bearer(second))).status_code == 200

    async def test_a_refresh_beside_a_logout_is_refused(self, door: Door, users: FakeUsers) -> None:
        first = await door.signed_up("ann", slug="acme")
        await door.a_minute_passes()

        async def elsewhere() -> None:
            await door.client.post("/auth/logout", headers=door.bearer(first))

        users.before_answer = elsewhere
        assert problem(await door.refresh(first["refresh_token"])) == (401, "refresh_refused")

    async def test_sessions_are_listed_and_ended_one_by_one(self, door: Door) -> None:
        first = await door.signed_up("ann", slug="acme")
        second = (await door.login("ann", headers={"User-Agent": "Phone/1"})).json()
        bearer = door.bearer(first)
        page = (await door.client.get("/auth/sessions", params={"limit": 1}, headers=bearer)).json()
        assert [(item["id"], item["device"], item["current"]) for item in page["items"]] == [
            (second["session_id"], "Phone", False)
        ]
        assert page["items"][0]["tenant"]["slug"] == "acme"
        rest = await door.client.get("/auth/sessions", params={"cursor": page["next_cursor"]}, headers=bearer)
        assert [(item["id"], item["current"]) for item in rest.json()["items"]] == [(first["session_id"], True)]

        path = f"/auth/sessions/{second['session_id']}"
        assert (await door.client.delete(path, headers=bearer)).status_code == 204
        assert problem(await door.client.delete(path, headers=bearer)) == (404, "session_not_found")
        assert problem(await door.refresh(second["refresh_token"])) == (401, "refresh_refused")
        assert (await door.client.get("/auth/me", headers=bearer)).status_code == 200

    async def test_anothers_session_is_not_found(self, door: Door) -> None:
        ann, bob = await door.signed_up("ann", slug="acme"), await door.signed_up("bob", slug="globex")
        for session_id in (ann["session_id"], str(new_id())):
            reply = await door.client.delete(f"/auth/sessions/{session_id}", headers=door.bearer(bob))
            assert problem(reply) == (404, "session_not_found")
        assert (await door.refresh(ann["refresh_token"])).status_code == 200

    async def test_the_feed_is_for_services_only(self, door: Door) -> None:
        tokens = await door.signed_up("ann", slug="acme")
        assert problem(await door.client.get("/internal/revocations")) == (401, "unauthenticated")
        reply = await door.client.get("/internal/revocations", headers=door.bearer(tokens))
        assert problem(reply) == (403, "forbidden")
        assert problem(await _feed(door, {"after": "yesterday"})) == (422, "invalid_input")


async def _feed(door: Door, params: dict[str, str]) -> httpx2.Response:
    """What the gateway hears."""
    headers = door.people.service("gateway")
    return await door.client.get("/internal/revocations", params=params, headers=headers)


async def test_me_is_the_tokens_view(door: Door, users: FakeUsers) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    me = (await door.client.get("/auth/me", headers=door.bearer(tokens))).json()
    assert me == {
        "id": claims_of(tokens)["sub"],
        "username": "ann",
        "email": "ann@example.com",
        "tenant": {"id": users.tenants["acme"]["id"], "slug": "acme", "name": "Acme", "tier": "free"},
        "roles": ["admin"],
        "scope": tokens["scope"],
        "impersonator_id": None,
    }
    assert problem(await door.client.get("/auth/me")) == (401, "unauthenticated")


class TestTenants:
    """Ann made acme, joined globex, is invited to initech; umbrella is none of hers."""

    @pytest.fixture
    async def ann(self, door: Door, users: FakeUsers) -> dict[str, Any]:
        tokens = await door.signed_up("ann", slug="acme")
        for slug in ("globex", "initech", "umbrella"):
            users.add_tenant(slug)
        users.add_member("globex", claims_of(tokens)["sub"], roles=["user"])
        users.add_member("initech", claims_of(tokens)["sub"], roles=["user"], status="invited")
        return tokens

    @pytest.mark.usefixtures("ann")
    async def test_a_sign_in_names_its_tenant_or_gets_the_last_used(self, door: Door, users: FakeUsers) -> None:
        assert await _slug(door) == "acme"
        assert await _slug(door, tenant="globex") == "globex"
        assert await _slug(door) == "globex"
        assert await _slug(door, headers={"X-Tenant-ID": users.tenants["acme"]["id"]}) == "acme"
        assert await _slug(door, headers={"X-Tenant-ID": "globex"}) == "globex"
        assert await _slug(door, headers={"Host": "acme.localhost"}) == "acme"

    @pytest.mark.usefixtures("ann")
    async def test_a_sign_in_that_names_two_tenants_is_malformed(self, door: Door, users: FakeUsers) -> None:
        """Nothing is said about either tenant, and no session is opened; a slug and an id may be the same tenant's."""
        ids = {slug: tenant["id"] for slug, tenant in users.tenants.items()}
        before = await door.rows("SELECT count(*) FROM sessions")
        for body, beside in (
            ("acme", {"X-Tenant-ID": "globex"}),
            ("acme", {"X-Tenant-ID": "nowhere"}),
            ("nowhere", {"X-Tenant-ID": "acme"}),
            ("acme", {"X-Tenant-ID": ids["globex"]}),
            (ids["acme"], {"X-Tenant-ID": ids["globex"]}),
            ("acme", {"Host": "globex.localhost"}),
        ):
            reply = await door.login("ann", tenant=body, headers=beside)
            assert problem(reply) == (400, "tenant_contradiction"), (body, beside)
        assert await door.rows("SELECT count(*) FROM sessions") == before
        for body, beside in (("acme", "ACME"), ("acme", ids["acme"]), (ids["globex"], "globex")):
            assert (await door.login("ann", tenant=body, headers={"X-Tenant-ID": beside})).status_code == 200

    @pytest.mark.usefixtures("ann")
    async def test_a_tenant_that_is_not_the_persons_is_404_after_the_password_only(
        self, door: Door, users: FakeUsers
    ) -> None:
        users.add_tenant("closed", status="suspended")
        for slug in ("umbrella", "nowhere", "closed", users.tenants["umbrella"]["id"]):
            for named in ({"tenant": slug}, {"headers": {"X-Tenant-ID": slug}}):
                assert problem(await door.login("ann", **named)) == (404, "tenant_not_found"), named
                assert problem(await door.login("ann", "Wrong-Word-1", **named)) == (401, "sign_in_refused"), named

    async def test_an_invitation_is_no_default_and_naming_it_accepts(
        self, door: Door, users: FakeUsers, ann: dict[str, Any]
    ) -> None:
        user_id = claims_of(ann)["sub"]
        users.end_member("acme", user_id)
        users.end_member("globex", user_id)
        await door.run("UPDATE accounts SET last_tenant_id = NULL")
        await door.a_minute_passes()
        assert problem(await door.login("ann")) == (403, "no_tenant")
        assert await _slug(door, tenant="initech") == "initech"
        assert users.memberships[users.tenants["initech"]["id"], user_id]["status"] == "active"
        assert await _slug(door) == "initech"

    async def test_a_refresh_names_no_other_tenant_than_the_sessions(
        self, door: Door, users: FakeUsers, ann: dict[str, Any]
    ) -> None:
        body = {"refresh_token": ann["refresh_token"]}
        for name in ({"X-Tenant-ID": "globex"}, {"X-Tenant-ID": "nowhere"}, {"Host": "globex.localhost"}):
            reply = await door.client.post("/auth/refresh", json=body, headers=name)
            assert problem(reply) == (403, "tenant_mismatch"), name
        assert {row["generation"] for row in await door.rows("SELECT generation FROM sessions")} == {0}
        for name in ({"X-Tenant-ID": "ACME"}, {"X-Tenant-ID": users.tenants["acme"]["id"]}, {"Host": "acme.localhost"}):
            assert (await door.client.post("/auth/refresh", json=body, headers=name)).status_code == 200, name

    async def test_another_session_in_another_tenant(self, door: Door, ann: dict[str, Any]) -> None:
        bearer = door.bearer(ann)
        reply = await door.client.post("/auth/sessions", json={"tenant": "globex"}, headers=bearer)
        assert reply.status_code == 201
        assert claims_of(reply.json())["tenant_slug"] == "globex"
        assert reply.json()["session_id"] != ann["session_id"]
        assert (await door.client.get("/auth/me", headers=bearer)).status_code == 200
        for slug in ("umbrella", "nowhere"):
            reply = await door.client.post("/auth/sessions", json={"tenant": slug}, headers=bearer)
            assert problem(reply) == (404, "tenant_not_found")
        assert problem(await door.login("ann", tenant="umbrella")) == (404, "tenant_not_found")

    @pytest.mark.usefixtures("ann")
    async def test_a_suspended_tenant_is_closed_when_named_and_no_default(self, door: Door, users: FakeUsers) -> None:
        await _slug(door, tenant="globex")
        users.tenants["globex"]["status"] = "suspended"
        await door.a_minute_passes()
        assert problem(await door.login("ann", tenant="globex")) == (403, "tenant_closed")
        assert await _slug(door) == "acme"

    @pytest.mark.usefixtures("ann")
    async def test_a_slow_users_service_is_waited_for_until_the_deadline(self, door: Door, users: FakeUsers) -> None:
        await door.a_minute_passes()
        answers = asyncio.Event()
        users.before_answer = answers.wait
        began = time.monotonic()
        assert await _slug(door, headers={deadline.HEADER: deadline.header(0.6)}) == "acme"
        assert 0.4 < time.monotonic() - began < 20  # without a deadline a call takes 30 s in tests
        answers.set()

    @pytest.mark.usefixtures("ann")
    async def test_while_users_is_away_what_is_known_serves(self, door: Door, users: FakeUsers) -> None:
        users.down = True
        await door.a_minute_passes()
        assert await _slug(door) == "acme"
        assert problem(await door.login("ann", tenant="globex")) == (503, "service_unavailable")


class TestSlowUsersService:
    @pytest.fixture
    def settings_values(self, settings_values: dict[str, Any]) -> dict[str, Any]:
        return settings_values | {"services_timeout_s": 0.2}

    async def test_a_call_takes_no_longer_than_the_setting_says(self, door: Door, users: FakeUsers) -> None:
        await door.signed_up("ann", slug="acme")
        await door.a_minute_passes()
        answers = asyncio.Event()
        users.before_answer = answers.wait
        async with asyncio.timeout(20):
            assert await _slug(door) == "acme"
        answers.set()


async def _slug(door: Door, **more: Any) -> str:
    """The tenant that a sign-in ends up in."""
    reply = await door.login("ann", **more)
    assert reply.status_code == 200, reply.text
    slug: str = claims_of(reply.json())["tenant_slug"]
    return slug


COMPOSED, DECOMPOSED = "S\u00e4il-away-7", "Sa\u0308il-away-7"


@pytest.mark.parametrize(("chosen", "typed"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
async def test_a_password_matches_however_it_is_typed(door: Door, chosen: str, typed: str) -> None:
    assert (await door.register("ann", **new_password(chosen))).status_code == 201
    before = await door.rows("SELECT password_hash FROM accounts")
    assert (await door.login("ann", typed)).status_code == 200
    assert await door.rows("SELECT password_hash FROM accounts") == before  # a hash of the one form needs no renewal
    assert (await door.login("ann", chosen)).status_code == 200
    assert problem(await door.login("ann", "Sail-away-7")) == (401, "sign_in_refused")


async def test_a_hash_of_a_password_as_it_was_typed_still_matches_and_is_renewed(door: Door) -> None:
    """As hashes were stored before passwords had one form, and as another system's hashes may be."""
    await door.register("ann")
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    await door.run("UPDATE accounts SET password_hash = :raw", raw=cheap.hash(DECOMPOSED))
    assert problem(await door.login("ann", COMPOSED)) == (401, "sign_in_refused")
    assert (await door.login("ann", DECOMPOSED)).status_code == 200
    assert (await door.login("ann", COMPOSED)).status_code == 200


async def test_a_password_of_before_may_have_any_characters(door: Door) -> None:
    await door.register("ann")
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    await door.run("UPDATE accounts SET password_hash = :raw", raw=cheap.hash("Sail\u200baway-7\t"))
    for _ in range(2):
        assert (await door.login("ann", "Sail\u200baway-7\t")).status_code == 200


async def test_a_username_is_the_same_in_full_width(door: Door) -> None:
    assert (await door.register("\uff41\uff4e\uff4e", email="ann@example.com")).json()["username"] == "ann"
    for typed in ("ann", "\uff21\uff4e\uff4e"):
        assert (await door.login(typed)).status_code == 200


async def test_a_token_says_when_and_how_its_person_signed_in(door: Door) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    claims = claims_of(tokens)
    assert (claims["amr"], claims["acr"], claims["auth_time"] <= claims["iat"]) == (["pwd"], "aal1", True)
    await door.run("UPDATE sessions SET auth_time = auth_time - interval '1 hour'")
    refreshed = claims_of((await door.refresh(tokens["refresh_token"])).json())
    assert (refreshed["amr"], refreshed["auth_time"]) == (["pwd"], claims["auth_time"] - 3600)
    opened = await door.client.post("/auth/sessions", json={"tenant": "acme"}, headers=door.bearer(tokens))
    assert claims_of(opened.json())["auth_time"] == claims["auth_time"] - 3600  # nothing was proven since


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/auth/mfa/totp", {"name": "Phone"}),
        ("POST", "/auth/sessions", {"tenant": "acme"}),
        ("GET", "/auth/sessions", None),
        ("POST", "/auth/logout-all", None),
        ("POST", "/auth/deactivate", None),
    ],
)
async def test_a_service_that_acts_for_a_person_manages_no_account(
    door: Door, method: str, path: str, body: dict[str, str] | None
) -> None:
    """The scopes that it may use are capped, and these operations need none; it signs when the person signed in."""
    person = principal_of(await door.signed_up("ann", slug="acme"))
    claimed = replace(person, session_id=None, auth_time=int(time.time()))
    headers = door.people.headers(door.people.signer("tasks").sign_for(claimed, "auth"))
    assert problem(await door.client.request(method, path, json=body, headers=headers)) == (403, "forbidden")
