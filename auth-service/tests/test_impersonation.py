"""Impersonation: an operator acts as a person in one tenant, who sees it and can end it."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from shared.ids import new_id
from shared.testing.fakes import FakeUsers

from . import events
from .door import Door, claims_of, principal_of, problem
from .factors import add_app, fresh
from .oauth import ISSUER, registered
from .test_oauth_tokens import ACCESS_TOKEN, EXCHANGE

REASON = "Ticket 4711: the upload fails."

Tokens = dict[str, Any]


@pytest.fixture
async def ann(door: Door) -> Tokens:
    """The person: an admin of globex."""
    return await door.signed_up("ann", slug="globex")


@pytest.fixture
def person(ann: Tokens) -> dict[str, str]:
    """What an operator sends to act as Ann."""
    return {"user_id": claims_of(ann)["sub"], "tenant": "globex", "reason": REASON}


async def impersonate(door: Door, operator: dict[str, str], body: dict[str, str]) -> Any:
    return await door.client.post("/auth/impersonate", json=body, headers=operator)


@pytest.fixture
async def acting(door: Door, root: dict[str, str], person: dict[str, str]) -> Tokens:
    """The operator's token for Ann."""
    reply = await impersonate(door, root | door.sent_from("203.0.113.9"), person)
    assert reply.status_code == 201, reply.text
    tokens: Tokens = reply.json()
    return tokens


async def operator_id(door: Door) -> str:
    return str((await door.rows("SELECT id FROM accounts WHERE username = 'root'"))[0]["id"])


async def is_open(door: Door, tokens: Tokens) -> bool:
    return bool((await door.client.get("/auth/me", headers=door.bearer(tokens))).status_code == 200)


async def received(door: Door, tenant_id: str, user_id: str, event: str, **about: Any) -> None:
    """One event about the membership, as the inbox worker runs its handler."""
    data = {"user_id": user_id, "username": "someone", **about}
    await events.received(door.database, event, new_id(), 9, data, UUID(tenant_id))


async def tenant_reported(door: Door, tenant: dict[str, Any], event: str, status: str | None) -> None:
    """One event about the tenant; without a status it is erased."""
    data = {} if status is None else {"slug": tenant["slug"], "name": "A", "tier": "free", "status": status}
    await events.received(door.database, event, UUID(tenant["id"]), 9, data, UUID(tenant["id"]))


class TestToken:
    async def test_it_is_the_persons_in_the_tenant_and_names_the_operator(
        self, door: Door, ann: Tokens, acting: Tokens, users: FakeUsers
    ) -> None:
        assert acting.keys() == {"access_token", "token_type", "expires_in", "scope", "session_id"}
        claims, own = claims_of(acting), claims_of(ann)
        assert claims["act"] == {"sub": await operator_id(door), "kind": "impersonation"}
        for name in ("sub", "preferred_username", "tenant", "roles", "tier", "client_id", "membership_version", "aud"):
            assert claims[name] == own[name], name
        assert set(claims["scope"].split()) == set(acting["scope"].split()) == set(own["scope"].split())
        assert not {"amr", "acr", "auth_time"} & claims.keys()
        assert claims["sid"] == acting["session_id"] != own["sid"]
        assert 890 <= claims["exp"] - claims["iat"] <= 900
        assert claims["exp"] - claims["iat"] == acting["expires_in"]
        assert claims["tenant"] == users.tenants["globex"]["id"]

    async def test_me_names_the_operator_and_the_persons_own_token_nobody(
        self, door: Door, ann: Tokens, acting: Tokens
    ) -> None:
        me = (await door.client.get("/auth/me", headers=door.bearer(acting))).json()
        assert (me["username"], me["impersonator_id"]) == ("ann", await operator_id(door))
        assert (await door.client.get("/auth/me", headers=door.bearer(ann))).json()["impersonator_id"] is None

    async def test_a_ticket_keeps_the_operator(self, door: Door, acting: Tokens) -> None:
        made = await door.client.post("/auth/tickets", json={"path": "/ws"}, headers=door.bearer(acting))
        body = {"ticket": made.json()["ticket"], "path": "/ws"}
        redeemed = await door.client.post("/internal/tickets/redeem", json=body, headers=door.people.service("gateway"))
        assert redeemed.json()["claims"]["act"] == claims_of(acting)["act"]

    async def test_it_does_not_change_the_persons_default_tenant(
        self, door: Door, users: FakeUsers, root: dict[str, str], person: dict[str, str]
    ) -> None:
        users.add_tenant("initech")
        users.add_member("initech", person["user_id"], roles=["user"])
        assert (await impersonate(door, root, person | {"tenant": "initech"})).status_code == 201
        assert claims_of((await door.login("ann")).json())["tenant_slug"] == "globex"

    async def test_no_client_exchanges_it(
        self, door: Door, root: dict[str, str], ann: Tokens, person: dict[str, str], acting: Tokens
    ) -> None:
        """The operator would be the client's to name from there on."""
        server = await registered(
            door, (await door.login("root")).json(), grant_types=[EXCHANGE], resources=[ISSUER], fleet_wide=True
        )
        form = {"grant_type": EXCHANGE, "subject_token": acting["access_token"], "subject_token_type": ACCESS_TOKEN}
        reply = await server.post("token", form)
        assert (reply.status_code, reply.json()["error"]) == (400, "invalid_request")
        assert "impersonates" in reply.json()["error_description"]

    async def test_its_end_is_in_the_feed_for_longer_than_it_lives(self, door: Door, acting: Tokens) -> None:
        await door.client.post("/auth/logout", headers=door.bearer(acting))
        feed = await door.client.get("/internal/revocations", headers=door.people.service("gateway"))
        entries = {entry["id"]: entry for entry in feed.json()["entries"]}
        assert entries[acting["session_id"]]["expires_at"] > claims_of(acting)["exp"]


class TestRefused:
    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"user_id": str(new_id())}, (404, "person_not_in_tenant")),
            ({"tenant": "acme"}, (404, "person_not_in_tenant")),
            ({"tenant": "nowhere"}, (404, "person_not_in_tenant")),
            ({"reason": ""}, (422, "invalid_input")),
            ({"reason": " \t "}, (422, "invalid_input")),
            ({"reason": "x" * 501}, (422, "invalid_input")),
            ({"scope": "system:write"}, (422, "invalid_input")),
            ({"user_id": "ann"}, (422, "invalid_input")),
        ],
    )
    async def test_whom_and_why(
        self, door: Door, root: dict[str, str], person: dict[str, str], change: dict[str, str], expected: Any
    ) -> None:
        assert problem(await impersonate(door, root, person | change)) == expected

    async def test_a_reason_is_trimmed(self, door: Door, root: dict[str, str], person: dict[str, str]) -> None:
        assert (await impersonate(door, root, person | {"reason": f"  {REASON} "})).status_code == 201
        assert await door.rows("SELECT impersonation_reason AS r FROM sessions WHERE impersonator_id IS NOT NULL") == [
            {"r": REASON}
        ]

    @pytest.mark.parametrize("missing", ["user_id", "tenant", "reason"])
    async def test_everything_is_named(
        self, door: Door, root: dict[str, str], person: dict[str, str], missing: str
    ) -> None:
        del person[missing]
        assert problem(await impersonate(door, root, person)) == (422, "invalid_input")

    async def test_an_admin_of_the_tenant_may_not(self, door: Door, ann: Tokens, person: dict[str, str]) -> None:
        assert problem(await impersonate(door, door.bearer(ann), person)) == (403, "insufficient_scope")
        assert problem(await door.client.post("/auth/impersonate", json=person)) == (401, "unauthenticated")

    async def test_oneself_is_not_impersonated(
        self, door: Door, users: FakeUsers, root: dict[str, str], person: dict[str, str]
    ) -> None:
        own = {"user_id": await operator_id(door), "tenant": "acme"}
        assert problem(await impersonate(door, root, person | own)) == (403, "not_impersonable")

    @pytest.mark.parametrize("status", ["active", "suspended", "invited"])
    async def test_an_operator_is_not_impersonated_in_another_tenant_either(
        self, door: Door, users: FakeUsers, root: dict[str, str], person: dict[str, str], status: str
    ) -> None:
        users.add_tenant("operations")
        users.add_member("operations", person["user_id"], roles=["system"], status=status)
        assert problem(await impersonate(door, root, person)) == (403, "not_impersonable")

    @pytest.mark.parametrize("status", ["suspended", "invited"])
    async def test_only_active_members_are(
        self, door: Door, users: FakeUsers, root: dict[str, str], person: dict[str, str], status: str
    ) -> None:
        users.add_tenant("initech")
        users.add_member("initech", person["user_id"], roles=["user"], status=status)
        assert problem(await impersonate(door, root, person | {"tenant": "initech"})) == (404, "person_not_in_tenant")

    async def test_not_in_a_suspended_tenant(
        self, door: Door, users: FakeUsers, root: dict[str, str], person: dict[str, str]
    ) -> None:
        users.tenants["globex"]["status"] = "suspended"
        assert problem(await impersonate(door, root, person)) == (404, "person_not_in_tenant")

    async def test_not_an_account_that_is_not_active(
        self, door: Door, root: dict[str, str], person: dict[str, str]
    ) -> None:
        await door.run("UPDATE accounts SET status = 'ending' WHERE username = 'ann'")
        assert problem(await impersonate(door, root, person)) == (404, "person_not_in_tenant")

    async def test_the_role_counts_as_it_is_now(
        self, door: Door, users: FakeUsers, root: dict[str, str], person: dict[str, str]
    ) -> None:
        users.add_member("acme", await operator_id(door), roles=["admin"])
        assert problem(await impersonate(door, root, person)) == (403, "insufficient_scope")

    async def test_it_is_unavailable_without_users_service(
        self, door: Door, users: FakeUsers, root: dict[str, str], person: dict[str, str]
    ) -> None:
        users.down = True
        assert problem(await impersonate(door, root, person)) == (503, "service_unavailable")

    async def test_an_operator_confirms_recently_that_it_is_them(
        self, door: Door, root: dict[str, str], person: dict[str, str]
    ) -> None:
        tokens = (await door.login("root")).json()
        long_ago = replace(principal_of(tokens), auth_time=claims_of(tokens)["auth_time"] - 601)
        headers = door.people.headers(door.people.signer("gateway").forward(long_ago, "auth"))
        reply = await impersonate(door, headers, person)
        assert problem(reply) == (401, "insufficient_user_authentication")
        assert 'max_age="600"' in reply.headers["www-authenticate"]

    async def test_an_operator_with_a_second_factor_has_used_it(
        self, door: Door, root: dict[str, str], person: dict[str, str]
    ) -> None:
        tokens = (await door.login("root")).json()
        await add_app(door, tokens)
        reply = await impersonate(door, door.bearer(tokens), person)
        assert problem(reply) == (401, "insufficient_user_authentication")
        assert 'acr_values="aal2"' in reply.headers["www-authenticate"]
        assert (await impersonate(door, door.bearer(await fresh(door, tokens)), person)).status_code == 201

    async def test_an_ended_session_impersonates_nobody(
        self, door: Door, root: dict[str, str], person: dict[str, str]
    ) -> None:
        await door.client.post("/auth/logout", headers=root)
        assert problem(await impersonate(door, root, person)) == (401, "invalid_token")

    async def test_an_oauth_client_impersonates_nobody(
        self, door: Door, root: dict[str, str], person: dict[str, str]
    ) -> None:
        tokens = (await door.login("root")).json()
        by_client = replace(principal_of(tokens), client_id=str(new_id()))
        headers = door.people.headers(door.people.signer("gateway").forward(by_client, "auth"))
        assert problem(await impersonate(door, headers, person)) == (403, "client_not_allowed")


OWN = [
    ("POST", "/auth/impersonate"),
    ("DELETE", "/auth/impersonate"),
    ("POST", "/auth/logout-all"),
    ("POST", "/auth/deactivate"),
    ("GET", "/auth/sessions"),
    ("POST", "/auth/sessions"),
    ("DELETE", "/auth/sessions"),
    ("DELETE", f"/auth/sessions/{new_id()}"),
    ("POST", "/auth/password"),
    ("GET", "/auth/mfa"),
    ("POST", "/auth/mfa/totp"),
    ("POST", f"/auth/mfa/totp/{new_id()}/confirm"),
    ("POST", "/auth/mfa/passkeys"),
    ("POST", "/auth/mfa/passkeys/options"),
    ("DELETE", f"/auth/mfa/factors/{new_id()}"),
    ("POST", "/auth/mfa/recovery-codes"),
    ("POST", "/auth/mfa/step-up"),
    ("POST", "/auth/mfa/step-up/options"),
    ("GET", "/auth/api-keys"),
    ("POST", "/auth/api-keys"),
    ("DELETE", f"/auth/api-keys/{new_id()}"),
    ("GET", "/auth/identities"),
    ("DELETE", f"/auth/identities/{new_id()}"),
    ("POST", f"/auth/identities/{new_id()}/link"),
    ("GET", "/auth/identity-providers"),
    ("POST", "/auth/identity-providers"),
    ("GET", f"/auth/identity-providers/{new_id()}"),
    ("PATCH", f"/auth/identity-providers/{new_id()}"),
    ("DELETE", f"/auth/identity-providers/{new_id()}"),
    ("GET", "/auth/audit"),
    ("GET", "/oauth2/consents"),
    ("DELETE", f"/oauth2/consents/{new_id()}"),
    ("GET", "/oauth2/clients"),
    ("POST", "/oauth2/clients"),
    ("GET", f"/oauth2/clients/{new_id()}"),
    ("PATCH", f"/oauth2/clients/{new_id()}"),
    ("DELETE", f"/oauth2/clients/{new_id()}"),
    ("POST", f"/oauth2/clients/{new_id()}/secret"),
    ("POST", "/oauth2/register"),
    ("GET", "/oauth2/userinfo"),
    ("POST", "/oauth2/userinfo"),
    ("GET", "/oauth2/my-scopes"),
]
"""What is the person's own, each refused by this service itself."""


class TestThePersonsOwn:
    async def test_it_is_refused(self, door: Door, acting: Tokens) -> None:
        """Before anything is read of the body or looked up."""
        headers, other = door.bearer(acting), {}
        for method, path in OWN:
            body = None if method in ("GET", "DELETE") else {}
            answer = problem(await door.client.request(method, path, json=body, headers=headers))
            if answer != (403, "impersonation_refused"):
                other[method, path] = answer
        assert other == {}

    async def test_the_list_is_complete(self, door: Door) -> None:
        """Every operation for a signed-in caller is in the list, but these."""
        allowed = {("GET", "/auth/me"), ("POST", "/auth/logout"), ("POST", "/auth/tickets")}
        document = (await door.client.get("/internal/openapi.json", headers=door.people.service("gateway"))).json()
        signed_in = {
            (method.upper(), path)
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
            if operation.get("security") and not path.startswith("/internal/")
        }
        listed = {(method, _template(path, signed_in)) for method, path in OWN}
        assert signed_in - allowed == listed


def _template(path: str, known: set[tuple[str, str]]) -> str:
    parts = path.split("/")
    for _, template in known:
        shape = template.split("/")
        if len(shape) == len(parts) and all(a == b or a.startswith("{") for a, b in zip(shape, parts, strict=True)):
            return template
    return path


class TestThePerson:
    async def test_sees_who_acts_why_and_until_when(self, door: Door, ann: Tokens, acting: Tokens) -> None:
        sessions = (await door.client.get("/auth/sessions", headers=door.bearer(ann))).json()["items"]
        by_id = {session["id"]: session for session in sessions}
        assert by_id[ann["session_id"]]["impersonation"] is None
        shown = by_id[acting["session_id"]]
        assert (shown["address"], shown["current"]) == ("203.0.113.9", False)
        assert shown["impersonation"]["operator"] == {"id": await operator_id(door), "username": "root"}
        assert shown["impersonation"]["reason"] == REASON
        assert shown["impersonation"]["until"] > shown["created_at"]

    async def test_sees_it_in_the_audit(self, door: Door, ann: Tokens, acting: Tokens) -> None:
        query = {"kind": "impersonation_started"}
        found = (await door.client.get("/auth/audit", params=query, headers=door.bearer(ann))).json()["items"]
        assert [(one["actor_id"], one["session_id"], one["details"]["reason"]) for one in found] == [
            (await operator_id(door), acting["session_id"], REASON)
        ]

    async def test_ends_it(self, door: Door, ann: Tokens, acting: Tokens) -> None:
        path = f"/auth/sessions/{acting['session_id']}"
        assert (await door.client.delete(path, headers=door.bearer(ann))).status_code == 204
        assert not await is_open(door, acting)

    async def test_does_not_see_it_any_more_once_it_is_over(self, door: Door, ann: Tokens, acting: Tokens) -> None:
        await door.run(
            "UPDATE sessions SET created_at = created_at - interval '15 minutes' WHERE impersonator_id IS NOT NULL"
        )
        sessions = (await door.client.get("/auth/sessions", headers=door.bearer(ann))).json()["items"]
        assert [session["id"] for session in sessions] == [ann["session_id"]]


class TestEnding:
    async def test_a_logout_with_the_token_ends_it_in_the_operators_name(
        self, door: Door, ann: Tokens, root: dict[str, str], acting: Tokens
    ) -> None:
        reply = await door.client.post("/auth/logout", headers=door.bearer(acting))
        assert (reply.status_code, reply.headers.get("set-cookie")) == (204, None)
        assert not await is_open(door, acting)
        assert await is_open(door, ann)
        assert (await door.client.get("/auth/me", headers=root)).status_code == 200
        ended = await door.rows("SELECT actor_id, details FROM security_events WHERE kind = 'session_ended'")
        assert [(str(one["actor_id"]), one["details"]) for one in ended] == [
            (await operator_id(door), {"reason": "logout"})
        ]

    async def test_the_operator_ends_all_of_theirs(
        self, door: Door, root: dict[str, str], person: dict[str, str], acting: Tokens
    ) -> None:
        second = (await impersonate(door, root, person)).json()
        reply = await door.client.delete("/auth/impersonate", headers=root)
        assert reply.json() == {"sessions_ended": 2}
        assert not await is_open(door, acting)
        assert not await is_open(door, second)
        assert (await door.client.delete("/auth/impersonate", headers=root)).json() == {"sessions_ended": 0}
        ended = await door.rows("SELECT actor_id, details FROM security_events WHERE kind = 'session_ended'")
        assert [one["details"]["reason"] for one in ended] == ["impersonation_ended"] * 2

    async def test_the_person_ends_none_of_it_as_an_operator(self, door: Door, ann: Tokens, acting: Tokens) -> None:
        assert (await door.client.delete("/auth/impersonate", headers=door.bearer(ann))).json() == {"sessions_ended": 0}
        assert await is_open(door, acting)

    @pytest.mark.parametrize("path", ["/auth/logout", "/auth/logout-all"])
    async def test_it_ends_with_the_operators_session(
        self, door: Door, ann: Tokens, root: dict[str, str], acting: Tokens, path: str
    ) -> None:
        await door.client.post(path, headers=root)
        assert not await is_open(door, acting)
        assert await is_open(door, ann)

    @pytest.mark.parametrize("path", ["/auth/logout", "/auth/logout-all"])
    async def test_none_that_begins_at_the_same_time_outlives_the_operators_session(
        self, door: Door, root: dict[str, str], person: dict[str, str], path: str
    ) -> None:
        begun = [impersonate(door, root, person) for _ in range(4)]
        replies = await asyncio.gather(*begun[:2], door.client.post(path, headers=root), *begun[2:])
        assert {reply.status_code for reply in replies} <= {200, 201, 204, 401}
        assert await door.rows("SELECT 1 FROM sessions WHERE impersonator_id IS NOT NULL AND ended_at IS NULL") == []

    @pytest.mark.parametrize(
        ("event", "about"),
        [
            ("membership.changed", {"roles": ["admin"], "status": "active"}),
            ("membership.changed", {"roles": ["system"], "status": "suspended"}),
            ("membership.revoked", {"roles": [], "status": "ended"}),
        ],
    )
    async def test_it_ends_with_the_operators_role(
        self, door: Door, users: FakeUsers, ann: Tokens, acting: Tokens, event: str, about: dict[str, Any]
    ) -> None:
        await received(door, users.tenants["acme"]["id"], await operator_id(door), event, **about)
        assert not await is_open(door, acting)
        assert await is_open(door, ann)

    @pytest.mark.parametrize(
        ("event", "status"),
        [("tenant.suspended", "suspended"), ("tenant.updated", "suspended"), ("tenant.erased", None)],
    )
    async def test_it_ends_with_the_operators_tenant(
        self, door: Door, users: FakeUsers, ann: Tokens, acting: Tokens, event: str, status: str | None
    ) -> None:
        await tenant_reported(door, users.tenants["acme"], event, status)
        assert not await is_open(door, acting)
        assert await is_open(door, ann)
        revoked = await door.rows("SELECT ref FROM revocations WHERE kind = 'session'")
        assert revoked == [{"ref": acting["session_id"]}]

    @pytest.mark.parametrize(("slug", "status"), [("default", "suspended"), ("acme", "active")])
    async def test_another_change_of_a_tenant_ends_nothing(
        self, door: Door, users: FakeUsers, ann: Tokens, acting: Tokens, slug: str, status: str
    ) -> None:
        await tenant_reported(door, users.tenants[slug], "tenant.updated", status)
        assert await is_open(door, acting)

    async def test_it_ends_when_the_person_becomes_an_operator(
        self, door: Door, users: FakeUsers, ann: Tokens, acting: Tokens
    ) -> None:
        about = {"roles": ["admin", "system"], "status": "active"}
        await received(door, users.tenants["globex"]["id"], claims_of(ann)["sub"], "membership.changed", **about)
        assert not await is_open(door, acting)

    async def test_another_change_of_the_operator_ends_nothing(
        self, door: Door, users: FakeUsers, acting: Tokens
    ) -> None:
        about = {"roles": ["system"], "status": "active"}
        await received(door, users.tenants["acme"]["id"], await operator_id(door), "membership.changed", **about)
        assert await is_open(door, acting)
