"""Invitations by mail: offered by an admin, accepted once by the account that has verified the invited address."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from shared.app import Service
from shared.data.database import Database
from shared.ids import new_id
from shared.settings import ServiceSettings
from shared.testing import People
from shared.testing.fakes import FakeAuth
from shared.testing.running import running_service
from users_service.invitations.maintenance import prune

from .calls import Published, Register

pytestmark = pytest.mark.usefixtures("acme", "globex")

ACCEPT = "/api/v1/invitations/accept"
WANTED = {"email": "Gil@example.com", "roles": ["user"]}
NOT_FOUND = (404, "invitation_not_found")

Invite = Callable[..., Awaitable[str]]
Accept = Callable[..., Awaitable[httpx2.Response]]


@pytest.fixture
def url(as_user: People) -> str:
    return f"/api/v1/tenants/{as_user.tenant_id('acme')}/invitations"


@pytest.fixture
def ann(as_user: People) -> dict[str, str]:
    return as_user("ann", roles=["admin"])


@pytest.fixture
def gil(as_user: People, auth: FakeAuth) -> dict[str, str]:
    """Admin of globex, who has verified gil@example.com."""
    auth.verified[str(as_user.id("gil"))] = "gil@example.com"
    return as_user("gil", tenant="globex", roles=["admin"])


@pytest.fixture
def invite(client: httpx2.AsyncClient, auth: FakeAuth, url: str, ann: dict[str, str]) -> Invite:
    """Invites gil as ann; the token that was mailed."""

    async def call(**changes: Any) -> str:
        reply = await client.post(url, json=WANTED | changes, headers=ann)
        assert reply.status_code == 201, reply.text
        token: str = auth.invitations[-1]["token"]
        return token

    return call


@pytest.fixture
def accept(client: httpx2.AsyncClient) -> Accept:
    async def call(token: str, headers: dict[str, str], **more: str) -> httpx2.Response:
        return await client.post(ACCEPT, json={"token": token}, headers=headers | more)

    return call


def problem(reply: httpx2.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["code"]


async def test_an_invitation_is_mailed_and_accepted_once(
    client: httpx2.AsyncClient,
    as_user: People,
    auth: FakeAuth,
    url: str,
    ann: dict[str, str],
    gil: dict[str, str],
    accept: Accept,
    published: Published,
) -> None:
    made = await client.post(url, json=WANTED | {"roles": ["user", "analyst"], "locale": "de"}, headers=ann)
    shown = made.json()
    assert made.status_code == 201
    assert made.headers["location"] == f"{url}/{shown['id']}"
    assert (shown["email"], shown["roles"], shown["status"]) == ("Gil@example.com", ["analyst", "user"], "open")
    assert shown["invited_by"] == {"id": str(as_user.id("ann")), "username": "ann"}
    assert (await client.get(url, headers=ann)).json() == {"items": [shown], "next_cursor": None}
    [mail] = auth.invitations
    assert (mail["mail_id"], mail["email"], mail["locale"]) == (shown["id"], "Gil@example.com", "de")
    assert mail["tenant"] == {"id": str(as_user.tenant_id("acme")), "name": "Acme", "slug": "acme"}
    assert (mail["inviter_name"], mail["roles"]) == ("ann", ["analyst", "user"])

    accepted = await accept(mail["token"], gil)
    assert accepted.status_code == 200
    assert accepted.json()["tenant"]["slug"] == "acme"
    assert (accepted.json()["roles"], accepted.json()["status"]) == (["analyst", "user"], "active")
    path = f"/internal/memberships/{as_user.tenant_id('acme')}/{as_user.id('gil')}"
    membership = (await client.get(path, headers=as_user.service("auth"))).json()
    assert (membership["roles"], membership["status"]) == (["analyst", "user"], "active")
    assert (await client.get("/api/v1/profile", headers=as_user("gil"))).json()["username"] == "gil"
    assert problem(await accept(mail["token"], gil)) == NOT_FOUND
    assert (await client.get(url, headers=ann)).json()["items"] == []
    granted = [row for row in await published("membership.granted") if row.tenant_id == as_user.tenant_id("acme")]
    assert [(row.data["username"], row.data["status"]) for row in granted][2:] == [("gil", "active")]


async def test_the_token_is_in_the_mail_alone(
    client: httpx2.AsyncClient,
    auth: FakeAuth,
    database: Database,
    as_user: People,
    url: str,
    ann: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    reply = await client.post(url, json=WANTED, headers=ann | {"Idempotency-Key": "one"})
    token = auth.invitations[0]["token"]
    assert token not in reply.text
    assert token not in (await client.get(url, headers=ann)).text
    assert token not in caplog.text
    async with database.transaction(as_user.tenant_id("acme")) as db:
        assert await db.scalar(text("SELECT token_hash FROM invitations")) == hashlib.sha256(token.encode()).digest()
        for table in ("invitations", "idempotency_keys", "outbox"):
            rows = (await db.scalars(text(f"SELECT t::text FROM {table} t"))).all()  # noqa: S608 - the names above
            assert not [row for row in rows if token in row or token.encode().hex() in row]


async def test_a_repeat_with_the_same_key_mails_once(
    client: httpx2.AsyncClient, auth: FakeAuth, url: str, ann: dict[str, str]
) -> None:
    keyed = ann | {"Idempotency-Key": "one"}
    first, again = [await client.post(url, json=WANTED, headers=keyed) for _ in range(2)]
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    assert again.headers["location"] == first.headers["location"]
    assert len(auth.invitations) == 1
    other = await client.post(url, json=WANTED | {"roles": ["analyst"]}, headers=keyed)
    assert problem(other) == (422, "key_reused")


async def test_accepting_is_repeated_by_its_key(gil: dict[str, str], invite: Invite, accept: Accept) -> None:
    token = await invite()
    first, again = [await accept(token, gil, **{"Idempotency-Key": "one"}) for _ in range(2)]
    assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json())


async def test_of_concurrent_accepts_one_counts(
    gil: dict[str, str], invite: Invite, accept: Accept, published: Published
) -> None:
    token = await invite()
    replies = await asyncio.gather(*(accept(token, gil) for _ in range(4)))
    assert sorted(reply.status_code for reply in replies) == [200, 404, 404, 404]
    assert len([row for row in await published("membership.granted") if row.data["username"] == "gil"]) == 2


@pytest.mark.parametrize("verified", [None, "other@example.com"])
async def test_only_who_has_verified_the_address_accepts(
    as_user: People, auth: FakeAuth, invite: Invite, accept: Accept, gil: dict[str, str], verified: str | None
) -> None:
    token = await invite()
    auth.verified = {str(as_user.id("gil")): verified} if verified else {}
    assert problem(await accept(token, gil)) == NOT_FOUND
    auth.verified = {str(as_user.id("gil")): "GIL@example.com"}
    assert (await accept(token, gil)).status_code == 200


async def test_a_withdrawn_invitation_is_gone(
    client: httpx2.AsyncClient,
    database: Database,
    as_user: People,
    url: str,
    ann: dict[str, str],
    gil: dict[str, str],
    invite: Invite,
    accept: Accept,
) -> None:
    token = await invite()
    [shown] = (await client.get(url, headers=ann)).json()["items"]
    assert (await client.delete(f"{url}/{shown['id']}", headers=ann)).status_code == 204
    assert problem(await client.delete(f"{url}/{shown['id']}", headers=ann)) == NOT_FOUND
    assert problem(await accept(token, gil)) == NOT_FOUND
    async with database.transaction(as_user.tenant_id("acme")) as db:
        assert await db.scalar(text("SELECT email FROM invitations")) is None


async def test_an_expired_one_is_shown_and_refused(
    client: httpx2.AsyncClient,
    database: Database,
    as_user: People,
    url: str,
    ann: dict[str, str],
    gil: dict[str, str],
    invite: Invite,
    accept: Accept,
) -> None:
    token = await invite()
    await age(database, as_user, "expires_at = now() - interval '1 second'")
    assert problem(await accept(token, gil)) == NOT_FOUND
    assert [one["status"] for one in (await client.get(url, headers=ann)).json()["items"]] == ["expired"]


async def age(database: Database, as_user: People, change: str) -> None:
    async with database.transaction(as_user.tenant_id("acme")) as db:
        await db.execute(text(f"UPDATE invitations SET {change}"))  # noqa: S608 - the tests' own text


@pytest.mark.parametrize("token", ["x", "A" * 64, "not base64url!", "é" * 30, "A" * 63 + "="])
async def test_what_is_no_token_is_not_found(accept: Accept, gil: dict[str, str], token: str) -> None:
    assert problem(await accept(token, gil)) == NOT_FOUND


async def test_the_newest_invitation_of_an_address_is_the_valid_one(
    client: httpx2.AsyncClient, url: str, ann: dict[str, str], gil: dict[str, str], invite: Invite, accept: Accept
) -> None:
    first, second = await invite(), await invite(email="gil@EXAMPLE.com", roles=["analyst"])
    assert len((await client.get(url, headers=ann)).json()["items"]) == 1
    assert problem(await accept(first, gil)) == NOT_FOUND
    assert (await accept(second, gil)).json()["roles"] == ["analyst"]


async def test_where_no_mail_can_be_sent_nothing_stays(
    client: httpx2.AsyncClient, auth: FakeAuth, url: str, ann: dict[str, str], gil: dict[str, str], accept: Accept
) -> None:
    keyed = ann | {"Idempotency-Key": "one"}
    auth.down = True
    refused = await client.post(url, json=WANTED, headers=keyed)
    assert problem(refused) == (503, "service_unavailable")
    auth.down = False
    assert (await client.get(url, headers=ann)).json()["items"] == []
    assert (await client.post(url, json=WANTED, headers=keyed)).status_code == 201
    auth.down = True
    assert (await accept(auth.invitations[0]["token"], gil)).status_code == 503
    auth.down = False
    assert (await accept(auth.invitations[0]["token"], gil)).status_code == 200


async def test_an_earlier_invitation_survives_a_failed_one(
    client: httpx2.AsyncClient,
    auth: FakeAuth,
    url: str,
    ann: dict[str, str],
    gil: dict[str, str],
    invite: Invite,
    accept: Accept,
) -> None:
    token = await invite()
    auth.refuses_mail = (429, "mail_limit_reached")
    limited = await client.post(url, json=WANTED, headers=ann)
    assert problem(limited) == (429, "invitation_mails_limited")
    assert int(limited.headers["retry-after"]) > 0
    assert (await accept(token, gil)).status_code == 200


async def test_a_tenant_has_a_bounded_number(
    service: Service,
    settings_values: dict[str, Any],
    url: str,
    ann: dict[str, str],
    database: Database,
    as_user: People,
) -> None:
    settings: ServiceSettings = service.settings(_env_file=None, **settings_values, invitations={"max_open": 2})
    async with running_service(service.create_app(settings)) as base, httpx2.AsyncClient(base_url=base) as client:
        for name in ("cy", "dee"):
            assert (await client.post(url, json=WANTED | {"email": f"{name}@example.com"}, headers=ann)).is_success
        ids = [one["id"] for one in (await client.get(url, headers=ann)).json()["items"]]
        await client.delete(f"{url}/{ids[0]}", headers=ann)
        refused = await client.post(url, json=WANTED, headers=ann)  # a withdrawn one was a mail too
        assert problem(refused) == (409, "too_many_invitations")
        await age(database, as_user, "created_at = now() - interval '25 hours'")
        assert (await client.post(url, json=WANTED, headers=ann)).status_code == 201


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ("ended_at = now() - interval '23 hours'", 1),
        ("ended_at = now() - interval '25 hours'", 0),
        ("expires_at = now() - interval '6 days'", 1),
        ("expires_at = now() - interval '8 days'", 0),
    ],
)
async def test_old_ones_are_pruned(database: Database, as_user: People, invite: Invite, change: str, left: int) -> None:
    await invite()
    await age(database, as_user, change)
    await prune(database)
    assert await count(database, as_user) == left


async def count(database: Database, as_user: People) -> int:
    async with database.transaction(as_user.tenant_id("acme")) as db:
        return await db.scalar(text("SELECT count(*) FROM invitations")) or 0


async def test_a_member_keeps_their_roles(
    client: httpx2.AsyncClient, as_user: People, auth: FakeAuth, invite: Invite, accept: Accept, ann: dict[str, str]
) -> None:
    auth.verified[str(as_user.id("bob"))] = "bob@example.com"
    token = await invite(email="bob@example.com", roles=["admin"])
    assert problem(await accept(token, as_user("bob"))) == (409, "already_member")
    members = f"/api/v1/tenants/{as_user.tenant_id('acme')}/members"
    assert (await client.get(f"{members}/{as_user.id('bob')}", headers=ann)).json()["roles"] == ["user"]


async def test_an_ended_membership_is_taken_up_again(
    client: httpx2.AsyncClient,
    as_user: People,
    ann: dict[str, str],
    gil: dict[str, str],
    invite: Invite,
    accept: Accept,
    published: Published,
) -> None:
    await accept(await invite(roles=["analyst"]), gil)
    member = f"/api/v1/tenants/{as_user.tenant_id('acme')}/members/{as_user.id('gil')}"
    assert (await client.delete(member, headers=ann)).status_code == 204
    assert (await accept(await invite(roles=["user"]), gil)).status_code == 200
    shown = (await client.get(member, headers=ann)).json()
    assert (shown["status"], shown["roles"]) == ("active", ["user"])
    rows = [row for row in await published("membership.") if row.data["username"] == "gil"][1:]
    assert [(row.type, row.subject_version) for row in rows] == [
        ("membership.granted.v1", 1),
        ("membership.revoked.v1", 2),
        ("membership.granted.v1", 3),
    ]
    feed = (await client.get("/internal/revocations", headers=as_user.service("auth"))).json()["entries"]
    [entry] = [one for one in feed if one.get("user_id") == str(as_user.id("gil"))]
    assert (entry["version"], entry["roles"]) == (3, ["user"])  # tokens from before the end stay ended


async def test_who_was_added_by_an_admin_accepts_by_mail_too(
    client: httpx2.AsyncClient,
    as_user: People,
    ann: dict[str, str],
    gil: dict[str, str],
    invite: Invite,
    accept: Accept,
) -> None:
    member = f"/api/v1/tenants/{as_user.tenant_id('acme')}/members/{as_user.id('gil')}"
    await client.put(member, json={"roles": ["analyst"]}, headers=ann)
    assert (await accept(await invite(), gil)).json()["roles"] == ["user"]
    assert (await client.get(member, headers=ann)).json()["status"] == "active"


async def test_no_removed_or_demoted_admin_leaves_an_open_door(
    client: httpx2.AsyncClient,
    as_user: People,
    auth: FakeAuth,
    url: str,
    ann: dict[str, str],
    gil: dict[str, str],
    accept: Accept,
) -> None:
    bobs = f"/api/v1/tenants/{as_user.tenant_id('acme')}/members/{as_user.id('bob')}"
    await client.put(bobs, json={"roles": ["admin"]}, headers=ann)
    bob = as_user("bob", roles=["admin"])
    assert (await client.post(url, json=WANTED | {"roles": ["admin"]}, headers=bob)).status_code == 201
    token = auth.invitations[-1]["token"]
    await client.put(bobs, json={"roles": ["user"]}, headers=ann)
    assert problem(await accept(token, gil)) == NOT_FOUND
    refused = await client.post(url, json=WANTED, headers=bob)  # the token says admin, the membership user
    assert problem(refused) == (403, "insufficient_scope")
    await client.delete(bobs, headers=ann)
    assert problem(await accept(token, gil)) == NOT_FOUND
    assert problem(await client.post(url, json=WANTED, headers=bob)) == (401, "invalid_token")


async def test_an_operator_invites_into_any_tenant(
    client: httpx2.AsyncClient,
    auth: FakeAuth,
    url: str,
    operator: dict[str, str],
    gil: dict[str, str],
    accept: Accept,
) -> None:
    keyed = operator | {"Idempotency-Key": "one"}
    replies = [await client.post(url, json=WANTED | {"roles": ["admin"]}, headers=keyed) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [201, 201]
    assert replies[0].json() == replies[1].json()
    assert (await accept(auth.invitations[0]["token"], gil)).json()["roles"] == ["admin"]


async def test_a_suspended_tenant_takes_nobody_in(
    client: httpx2.AsyncClient, url: str, operator: dict[str, str], gil: dict[str, str], invite: Invite, accept: Accept
) -> None:
    token = await invite()
    await client.patch(url.removesuffix("/invitations"), json={"status": "suspended"}, headers=operator)
    assert problem(await accept(token, gil)) == NOT_FOUND


async def test_who_has_left_their_own_tenant_accepts_nothing(
    client: httpx2.AsyncClient, register: Register, as_user: People, auth: FakeAuth, invite: Invite, accept: Accept
) -> None:
    await client.put(
        f"/api/v1/tenants/{as_user.tenant_id('globex')}/members/{as_user.id('bob')}",
        json={"roles": ["user"]},
        headers=as_user("gil", tenant="globex", roles=["admin"]),
    )
    auth.verified[str(as_user.id("bob"))] = "bob@example.com"
    token = await invite(email="bob@example.com")
    invited = as_user("bob", tenant="globex")  # a membership that is not active yet
    assert problem(await accept(token, invited)) == (401, "invalid_token")


async def test_another_tenants_admin_neither_invites_nor_sees_nor_withdraws(
    client: httpx2.AsyncClient, url: str, ann: dict[str, str], gil: dict[str, str], invite: Invite
) -> None:
    await invite()
    [shown] = (await client.get(url, headers=ann)).json()["items"]
    for reply in [
        await client.post(url, json=WANTED, headers=gil),
        await client.get(url, headers=gil),
        await client.delete(f"{url}/{shown['id']}", headers=gil),
    ]:
        assert problem(reply) == (404, "tenant_not_found")
    assert problem(await client.delete(f"{url}/{new_id()}", headers=ann)) == NOT_FOUND


@pytest.mark.parametrize("roles", [["user"], ["moderator"], ["analyst"]])
async def test_other_roles_neither_invite_nor_see(
    client: httpx2.AsyncClient, as_user: People, url: str, roles: list[str]
) -> None:
    bob = as_user("bob", roles=roles)
    for reply in [
        await client.post(url, json=WANTED, headers=bob),
        await client.get(url, headers=bob),
        await client.delete(f"{url}/{new_id()}", headers=bob),
    ]:
        assert problem(reply) == (403, "insufficient_scope")


async def test_a_narrowed_token_offers_no_more_than_it_has(
    client: httpx2.AsyncClient, as_user: People, auth: FakeAuth, url: str
) -> None:
    narrow = as_user("ann", roles=["admin"], scopes=["tenant:write", "profile:read"])
    assert problem(await client.post(url, json=WANTED, headers=narrow)) == (403, "insufficient_scope")
    assert auth.invitations == []


async def test_no_operator_who_acts_as_a_person_invites_or_accepts(
    client: httpx2.AsyncClient, as_user: People, url: str, invite: Invite, gil: dict[str, str]
) -> None:
    token = await invite()
    for name, tenant, roles, path, body in [
        ("ann", "acme", ["admin"], url, WANTED),
        ("gil", "globex", ["admin"], ACCEPT, {"token": token}),
    ]:
        person = replace(as_user.principal(name, tenant=tenant, roles=roles), impersonator=as_user.id("ops"))
        headers = as_user.headers(as_user.signer("gateway").forward(person, "users"))
        assert problem(await client.post(path, json=body, headers=headers)) == (403, "impersonation_refused")


async def test_accepting_needs_a_scope(as_user: People, accept: Accept, invite: Invite) -> None:
    refused = await accept(await invite(), as_user("gil", tenant="globex", scopes=["profile:read"]))
    assert problem(refused) == (403, "insufficient_scope")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"email": "gil"}, "#/email"),
        ({"email": "jürgen@example.com"}, "#/email"),
        ({"email": 7}, "#/email"),
        ({"roles": []}, "#/roles"),
        ({"roles": ["system"]}, "#/roles/0"),
        ({"roles": ["user", "user"]}, "#/roles"),
        ({"locale": "en\r\nX: y"}, "#/locale"),
        ({"token": "mine"}, "#/token"),
    ],
    ids=str,
)
async def test_what_no_invitation_can_be_is_refused(
    client: httpx2.AsyncClient,
    auth: FakeAuth,
    url: str,
    ann: dict[str, str],
    changes: dict[str, Any],
    pointer: str,
) -> None:
    reply = await client.post(url, json=WANTED | changes, headers=ann)
    assert (reply.status_code, reply.json()["errors"][0]["pointer"]) == (422, pointer)
    assert auth.invitations == []


async def test_they_are_listed_page_by_page(
    client: httpx2.AsyncClient, url: str, ann: dict[str, str], invite: Invite
) -> None:
    for name in ("cy", "dee", "eli"):
        await invite(email=f"{name}@example.com")
    seen: list[str] = []
    query: dict[str, str | None] = {"limit": "2", "sort": "created_at"}
    while query.get("cursor", "") is not None:
        page = (await client.get(url, params=query, headers=ann)).json()
        seen += [one["email"] for one in page["items"]]
        query["cursor"] = page["next_cursor"]
    assert seen == ["cy@example.com", "dee@example.com", "eli@example.com"]
    assert (await client.get(f"{url}?colour=red", headers=ann)).status_code == 422
    assert (await client.get(f"{url}?limit=201", headers=ann)).status_code == 422


async def test_auth_service_finds_and_accepts_for_its_page(
    client: httpx2.AsyncClient, as_user: People, invite: Invite
) -> None:
    token, auth = await invite(), as_user.service("auth")
    found = (await client.post("/internal/invitations/find", json={"token": token}, headers=auth)).json()
    assert (found["tenant"]["slug"], found["email"], found["roles"]) == ("acme", "Gil@example.com", ["user"])
    assert found["invited_by"]["username"] == "ann"
    body = {"token": token, "user_id": str(as_user.id("gil")), "email": "other@example.com"}
    path = "/internal/invitations/accept"
    assert problem(await client.post(path, json=body, headers=auth)) == NOT_FOUND
    unknown = body | {"email": "gil@example.com", "user_id": str(new_id())}
    assert problem(await client.post(path, json=unknown, headers=auth)) == NOT_FOUND
    accepted = await client.post(path, json=body | {"email": "gil@example.com"}, headers=auth)
    assert (accepted.status_code, accepted.json()["status"]) == (200, "active")
    gone = await client.post("/internal/invitations/find", json={"token": token}, headers=auth)
    assert problem(gone) == NOT_FOUND
    for service in ("chat", "tasks"):
        refused = await client.post(path, json=body, headers=as_user.service(service))
        assert refused.status_code == 403
