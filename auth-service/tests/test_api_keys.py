"""API keys: shown once, stored as a hash, never more than their person may do, ended with the membership."""

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from auth_service.api_keys import service
from shared.identity import Principal
from shared.identity.api_keys import generate, is_well_formed
from shared.testing.fakes import FakeUsers

from .door import PASSWORD, Door, claims_of, principal_of, problem
from .mailbox import Mailbox, text_of

SCOPES = ["files:read", "files:write"]


async def _create(door: Door, tokens: dict[str, Any], **changes: Any) -> Any:
    body = {"name": "Nightly import", "scopes": SCOPES} | changes
    return await door.client.post("/auth/api-keys", json=body, headers=door.bearer(tokens))


async def _created(door: Door, tokens: dict[str, Any], **changes: Any) -> dict[str, Any]:
    reply = await _create(door, tokens, **changes)
    assert reply.status_code == 201, reply.text
    body: dict[str, Any] = reply.json()
    return body


async def _redeem(door: Door, key: str, *, confirm: bool = False) -> Any:
    body = {"key": key, "confirm": confirm}
    return await door.client.post("/internal/api-keys/redeem", json=body, headers=door.people.service("gateway"))


async def _person(door: Door, key: str, *, confirm: bool = False) -> Principal:
    reply = await _redeem(door, key, confirm=confirm)
    assert reply.status_code == 200, reply.text
    return Principal.from_claims(reply.json()["claims"])


def test_a_key_is_recognized_by_its_form_and_checksum() -> None:
    made = generate()
    assert re.fullmatch(r"flk_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", made.key)
    assert made.key.startswith(made.prefix + "_")
    assert is_well_formed(made.key)
    for place in range(4, len(made.key)):
        other = "x" if made.key[place] != "x" else "y"
        assert not is_well_formed(made.key[:place] + other + made.key[place + 1 :])
    for wrong in ("", "flk_", made.key[:-1], made.key + "0", made.key.upper(), f"{made.key}\n", "é" * 66):
        assert not is_well_formed(wrong)
    assert len({generate().key for _ in range(100)}) == 100


async def test_a_key_is_shown_once_and_stored_as_a_hash(door: Door, mailbox: Mailbox) -> None:
    ann = await door.signed_up("ann", slug="acme")
    reply = await _create(door, ann)
    assert reply.headers["cache-control"] == "no-store"
    made = reply.json()
    assert is_well_formed(made["key"])
    [listed] = (await door.client.get("/auth/api-keys", headers=door.bearer(ann))).json()["items"]
    assert listed == {name: value for name, value in made.items() if name != "key"}
    assert (listed["name"], listed["scopes"], listed["last_used_at"]) == ("Nightly import", SCOPES, None)
    secret = made["key"].removeprefix(made["prefix"])
    notice = text_of(await mailbox.received(1))
    assert 'the API key "Nightly import" was created' in notice
    assert secret not in notice
    for table in ("api_keys", "security_events", "outbox"):
        assert secret not in str(await door.rows(f"SELECT * FROM {table}")), table  # noqa: S608 - names from above


async def test_who_comes_by_a_key_is_its_person_with_its_scopes(door: Door) -> None:
    ann = await door.signed_up("ann", slug="acme")
    made = await _created(door, ann)
    person, owner = await _person(door, made["key"]), principal_of(ann)
    assert (person.user_id, person.tenant_id, person.roles) == (owner.user_id, owner.tenant_id, owner.roles)
    assert person.scopes == frozenset(SCOPES)
    assert str(person.session_id) == made["id"]
    assert (person.client_id, person.actor) == ("api-key", None)
    again = await _person(door, made["key"])
    assert again.token_id != person.token_id


async def test_a_key_has_no_scope_that_its_creator_lacks(door: Door) -> None:
    await door.signed_up("ann", slug="acme")
    limited = (await door.login("ann", scope="files:read api-keys:write")).json()
    for wrong in (["files:write"], ["files:read", "system:write"], ["api-keys:write"], ["picnic:hold"]):
        reply = await _create(door, limited, scopes=wrong)
        assert problem(reply) == (422, "invalid_input"), wrong
        assert [error["code"] for error in reply.json()["errors"]] == ["not_granted"]
    assert (await _created(door, limited, scopes=["files:read"]))["scopes"] == ["files:read"]
    assert problem(await _create(door, limited, scopes=[])) == (422, "invalid_input")


async def test_at_use_the_roles_of_now_count(door: Door, users: FakeUsers) -> None:
    ann = await door.signed_up("ann", slug="acme")
    made = await _created(door, ann, scopes=["files:read", "tenant:write"])
    assert (await _person(door, made["key"])).scopes == {"files:read", "tenant:write"}
    user = principal_of(ann)
    users.add_member("acme", user.user_id, roles=["user"])
    assert (await _person(door, made["key"])).scopes == {"files:read", "tenant:write"}  # no event yet
    person = await _person(door, made["key"], confirm=True)
    assert (person.scopes, person.roles) == ({"files:read"}, {"user"})
    assert (await _person(door, made["key"])).scopes == {"files:read"}


async def test_a_key_expires(door: Door) -> None:
    ann = await door.signed_up("ann", slug="acme")
    soon = datetime.now(UTC) + timedelta(minutes=5)
    made = await _created(door, ann, expires_at=soon.isoformat())
    person = await _person(door, made["key"])
    assert person.expires_at == int(soon.timestamp())
    await door.run("UPDATE api_keys SET expires_at = now()")
    assert problem(await _redeem(door, made["key"])) == (401, "invalid_token")
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    reply = await _create(door, ann, expires_at=past)
    assert [error["code"] for error in reply.json()["errors"]] == ["not_future"]


async def test_a_revoked_key_is_in_the_feed_and_refused(door: Door) -> None:
    ann = await door.signed_up("ann", slug="acme")
    made, kept = await _created(door, ann), await _created(door, ann)
    reply = await door.client.delete(f"/auth/api-keys/{made['id']}", headers=door.bearer(ann))
    assert reply.status_code == 204
    assert problem(await _redeem(door, made["key"])) == (401, "invalid_token")
    assert (await _redeem(door, kept["key"])).status_code == 200
    feed = (await door.client.get("/internal/revocations", headers=door.people.service("gateway"))).json()
    assert [(entry["kind"], entry["id"]) for entry in feed["entries"]] == [("session", made["id"])]
    again = await door.client.delete(f"/auth/api-keys/{made['id']}", headers=door.bearer(ann))
    assert problem(again) == (404, "api_key_not_found")
    kinds = [row["kind"] for row in await door.rows("SELECT kind FROM security_events ORDER BY created_at, id")]
    assert kinds[-3:] == ["api_key_created", "api_key_created", "api_key_revoked"]


async def test_keys_are_their_owners_in_one_tenant(door: Door) -> None:
    ann, gil = await door.signed_up("ann", slug="acme"), await door.signed_up("gil", slug="globex")
    made = await _created(door, ann)
    reply = await door.client.delete(f"/auth/api-keys/{made['id']}", headers=door.bearer(gil))
    assert problem(reply) == (404, "api_key_not_found")
    assert (await door.client.get("/auth/api-keys", headers=door.bearer(gil))).json()["items"] == []
    assert (await _redeem(door, made["key"])).status_code == 200


async def test_it_is_refused_while_account_membership_or_tenant_is_not_active(door: Door) -> None:
    ann = await door.signed_up("ann", slug="acme")
    made = await _created(door, ann)
    for table, active, inactive in (
        ("accounts", "active", "deactivated"),
        ("memberships", "active", "suspended"),
        ("tenants", "active", "suspended"),
    ):
        for status, expected in ((inactive, 401), (active, 200)):
            async with door.database.transaction(role="fleet") as db:
                connection = await db.connection()
                await connection.exec_driver_sql(f"UPDATE {table} SET status = '{status}' WHERE status <> 'x'")  # noqa: S608 - names from above
            assert (await _redeem(door, made["key"])).status_code == expected, (table, status)


async def test_an_ended_membership_is_known_before_its_event(door: Door, users: FakeUsers) -> None:
    ann = await door.signed_up("ann", slug="acme")
    made = await _created(door, ann)
    users.end_member("acme", principal_of(ann).user_id)
    assert problem(await _redeem(door, made["key"], confirm=True)) == (401, "invalid_token")


async def test_a_new_password_ends_no_key(door: Door) -> None:
    ann = await door.signed_up("ann", slug="acme")
    made = await _created(door, ann)
    body = {"current_password": PASSWORD, "password": "Sail-away-8", "confirm_password": "Sail-away-8"}
    assert (await door.client.post("/auth/password", json=body, headers=door.bearer(ann))).status_code == 200
    assert (await _redeem(door, made["key"])).status_code == 200
    assert (await door.client.post("/auth/logout-all", headers=door.bearer(ann))).status_code == 200
    assert (await _person(door, made["key"])).user_epoch == 1


async def test_who_comes_by_a_key_manages_no_account(door: Door) -> None:
    ann = await door.signed_up("ann", slug="acme")
    person = await _person(door, (await _created(door, ann))["key"])
    headers = door.people.headers(door.people.signer("gateway").forward(person, "auth"))
    body = {"current_password": PASSWORD, "password": "Sail-away-8", "confirm_password": "Sail-away-8"}
    for method, path in (
        ("GET", "/auth/sessions"),
        ("GET", "/oauth2/consents"),
        ("POST", "/auth/logout-all"),
        ("POST", "/auth/password"),
    ):
        reply = await door.client.request(method, path, headers=headers, json=body if method == "POST" else None)
        assert reply.status_code == 401, (path, reply.text)
    for method, path in (("GET", "/auth/api-keys"), ("POST", "/auth/api-keys")):
        reply = await door.client.request(method, path, headers=headers, json={"name": "x", "scopes": SCOPES})
        assert reply.status_code == 403, path  # its scopes are not among those that a key can have


async def test_no_other_party_manages_a_persons_keys(door: Door) -> None:
    """Neither a service that acts for the person, nor an OAuth client."""
    user = principal_of(await door.signed_up("ann", slug="acme"))
    gateway = door.people.signer("gateway")
    client = door.people.headers(gateway.forward(replace(user, client_id="app"), "auth"))
    acting = door.people.headers(gateway.forward(replace(user, actor="root"), "auth"))
    for headers in (client, acting):
        assert (await door.client.get("/auth/api-keys", headers=headers)).status_code == 403
        reply = await door.client.post("/auth/api-keys", json={"name": "x", "scopes": SCOPES}, headers=headers)
        assert reply.status_code == 403
    assert await door.rows("SELECT 1 FROM api_keys") == []


async def test_the_scopes_are_required(door: Door) -> None:
    await door.signed_up("ann", slug="acme")
    reader = (await door.login("ann", scope="api-keys:read files:read")).json()
    assert (await door.client.get("/auth/api-keys", headers=door.bearer(reader))).status_code == 200
    assert problem(await _create(door, reader)) == (403, "insufficient_scope")
    assert "api-keys:read" in claims_of(reader)["scope"]


async def test_redeeming_is_one_statement_and_notes_the_use_once_a_minute(door: Door) -> None:
    ann = await door.signed_up("ann", slug="acme")
    made = await _created(door, ann)

    async def used() -> Any:
        return (await door.rows("SELECT last_used_at FROM api_keys"))[0]["last_used_at"]

    await _redeem(door, made["key"])
    first = await used()
    assert first is not None
    await asyncio.gather(*(_redeem(door, made["key"]) for _ in range(5)))
    assert await used() == first
    await door.run("UPDATE api_keys SET last_used_at = last_used_at - interval '61 seconds'")
    await _redeem(door, made["key"])
    assert await used() > first
    statements: list[str] = []
    for role in ("app", "fleet"):
        event.listen(
            door.database.engine(role).sync_engine,  # type: ignore[arg-type]  # one of the two roles
            "before_cursor_execute",
            lambda *arguments: statements.append(arguments[2]),
        )
    assert await service.find_holder(door.database, made["key"]) is not None
    assert statements == []  # nothing beside the prepared one


async def test_wrong_keys_are_refused(door: Door) -> None:
    ann = await door.signed_up("ann", slug="acme")
    made = await _created(door, ann)
    for wrong in (generate().key, made["key"][:-1], made["prefix"], "", "\u00e9"):
        assert problem(await _redeem(door, wrong)) == (401, "invalid_token"), wrong


@pytest.mark.parametrize("caller", ["users", "chat", "tasks"])
async def test_only_the_gateway_redeems(door: Door, caller: str) -> None:
    body = {"key": generate().key}
    reply = await door.client.post("/internal/api-keys/redeem", json=body, headers=door.people.service(caller))
    assert problem(reply) == (403, "forbidden")


async def test_a_person_has_a_limited_number_however_many_are_made_at_once(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_KEYS", 3)
    ann = await door.signed_up("ann", slug="acme")
    replies = await asyncio.gather(*(_create(door, ann) for _ in range(6)))
    assert sorted(reply.status_code for reply in replies) == [201] * 3 + [409] * 3
    assert problem(await _create(door, ann)) == (409, "api_key_limit_reached")
