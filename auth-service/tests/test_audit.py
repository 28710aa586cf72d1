"""The audit trail: append-only, hash-chained once, verifiable after erasure and retention, read by whom it concerns."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, get_args
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from auth_service.audit import service as audit
from auth_service.audit.chain import unchained
from auth_service.audit.kinds import DESCRIPTIONS, Kind, description
from auth_service.audit.maintenance import Chaining
from auth_service.audit.verification import Head, verify
from auth_service.settings import AuthSettings
from shared.data.database import Database
from shared.identity import Principal
from shared.ids import new_id
from shared.testing.commands import Commands, Ended
from shared.testing.databases import execute

from .door import Door, principal_of, problem

pytestmark = pytest.mark.own_process

AsOwner = Callable[..., Awaitable[None]]
Run = Callable[..., Awaitable[Ended]]


@pytest.fixture
def as_owner(postgres_admin_url: str, database_name: str) -> AsOwner:
    """Runs SQL with all rights and without the triggers, as a person who tampers with the trail would."""

    async def run(*statements: str) -> None:
        off = "ALTER TABLE security_events DISABLE TRIGGER USER"
        await execute(postgres_admin_url, off, *statements, database=database_name)

    return run


async def _recorded(database: Database, number: int = 6, account_id: UUID | None = None) -> None:
    """Records sign-ins, each in a transaction of its own, and chains them."""
    for place in range(number):
        async with database.transaction() as db:
            audit.record(db, "sign_in", account_id=account_id or new_id(), address="203.0.113.7", device=f"No. {place}")
    await _chained(database)


async def _chained(database: Database) -> None:
    while await database.finds(select(unchained())):
        await Chaining(database).step()


async def _breaks(database: Database, head: Head | None = None) -> list[tuple[int, str]]:
    return [(broken.seq, broken.reason) for broken in (await verify(database, head)).breaks]


async def _head(database: Database) -> Head:
    return (await verify(database)).head


async def test_an_untouched_trail_is_whole(database: Database) -> None:
    await _recorded(database)
    found = await verify(database)
    assert (found.breaks, found.verified, found.head.seq, found.waiting) == ([], 6, 6, 0)
    await _recorded(database, 2)
    assert await _breaks(database, found.head) == []


@pytest.mark.parametrize(
    ("tampering", "broken"),
    [
        ("UPDATE security_events SET kind = 'sign_in_refused' WHERE seq = 3", {3}),
        ("UPDATE security_events SET account_id = gen_random_uuid() WHERE seq = 3", {3}),
        ("UPDATE security_events SET created_at = created_at + interval '1 second' WHERE seq = 3", {3}),
        ("UPDATE security_events SET address = '198.51.100.1' WHERE seq = 3", {3}),
        ("UPDATE security_events SET details = '{}' WHERE seq = 3", {3}),
        ("UPDATE security_events SET details = '{}', address = NULL, salt = NULL WHERE seq = 3", {3}),
        ("UPDATE security_events SET content_hash = sha256('x') WHERE seq = 3", {3}),
        ("UPDATE security_events SET chain_hash = sha256('x') WHERE seq = 3", {3, 4}),
        ("DELETE FROM security_events WHERE seq = 3", {3}),
        ("DELETE FROM security_events WHERE seq = 1", {1}),
        ("DELETE FROM security_events WHERE seq = 6", {6}),
        ("DELETE FROM security_events", {1}),
        ("TRUNCATE security_events", {1}),
    ],
)
async def test_a_changed_or_deleted_event_is_found_where_it_is(
    database: Database, as_owner: AsOwner, tampering: str, broken: set[int]
) -> None:
    await _recorded(database)
    await as_owner(tampering)
    assert {seq for seq, _ in await _breaks(database)} == broken


async def test_an_inserted_event_is_found(database: Database, as_owner: AsOwner) -> None:
    await _recorded(database)
    await as_owner(
        "UPDATE security_events SET seq = -seq WHERE seq > 3",
        "UPDATE security_events SET seq = 1 - seq WHERE seq < 0",
        "INSERT INTO security_events (id, kind, salt, seq, content_hash, chain_hash, created_at)"
        " SELECT gen_random_uuid(), kind, salt, 4, content_hash, chain_hash, created_at"
        " FROM security_events WHERE seq = 3",
        "UPDATE audit_chain SET head_seq = 7",
    )
    assert {seq for seq, _ in await _breaks(database)} == {4}


async def test_an_event_that_was_added_later_with_an_earlier_time_is_found(
    database: Database, as_owner: AsOwner
) -> None:
    await _recorded(database)
    await as_owner(
        "INSERT INTO security_events (id, kind, created_at)"
        " VALUES (gen_random_uuid(), 'sign_in', now() - interval '1 day')"
    )
    await _chained(database)
    [(seq, reason)] = await _breaks(database)
    assert (seq, "added later" in reason) == (7, True)


async def test_reordered_events_are_found(database: Database, as_owner: AsOwner) -> None:
    await _recorded(database)
    await as_owner(
        "UPDATE security_events SET seq = -seq WHERE seq IN (3, 4)",
        "UPDATE security_events SET seq = 7 + seq WHERE seq < 0",
    )
    assert {3, 4} <= {seq for seq, _ in await _breaks(database)} <= {3, 4, 5}


async def test_a_trail_that_was_rewritten_whole_is_found_by_an_exported_head(
    database: Database, as_owner: AsOwner
) -> None:
    await _recorded(database)
    exported = await _head(database)
    await as_owner(
        "UPDATE security_events SET kind = 'sign_in_refused' WHERE seq = 3",
        "UPDATE security_events SET seq = NULL, content_hash = NULL, chain_hash = NULL",
        "UPDATE audit_chain SET head_seq = 0, head_hash = decode(repeat('00', 32), 'hex')",
    )
    await _chained(database)
    assert await _breaks(database) == []  # all hashes were computed again
    [(seq, reason)] = await _breaks(database, exported)
    assert (seq, "rewritten" in reason) == (6, True)
    await as_owner(
        "DELETE FROM security_events WHERE seq > 4",
        "UPDATE audit_chain SET head_seq = 4, head_hash = (SELECT chain_hash FROM security_events WHERE seq = 4)",
    )
    assert await _breaks(database, exported) == [(6, "the trail ends before the exported head")]


async def test_erasing_a_person_leaves_the_trail_whole(database: Database, as_owner: AsOwner) -> None:
    ann, ben = new_id(), new_id()
    await _recorded(database, 3, ann)
    await _recorded(database, 2, ben)
    async with database.transaction() as db:
        audit.record(db, "session_ended", account_id=ben, actor_id=ann, address="203.0.113.9", reason="by an admin")
        audit.record(db, "sign_in", account_id=ann, address="203.0.113.8", device="not chained yet")
    exported = await _head(database)
    async with database.transaction() as db:
        assert await audit.erase(db, ann) == 5
    await _chained(database)
    found = await verify(database, exported)
    assert (found.breaks, found.verified, found.erased) == ([], 8, 5)
    async with database.transaction() as db:
        rows = (await db.execute(text("SELECT * FROM security_events ORDER BY seq"))).mappings().all()
    theirs = [
        row for row in rows if ann in (row["account_id"], row["actor_id"]) and row["kind"] != "audit_trail_erased"
    ]
    assert {(row["address"], str(row["details"]), row["salt"]) for row in theirs} == {(None, "{}", None)}
    others = [row for row in rows if row not in theirs and row["kind"] == "sign_in"]
    assert [row["address"] for row in others] == ["203.0.113.7"] * 2
    await as_owner('UPDATE security_events SET details = \'{"device": "forged"}\' WHERE seq = 2')
    assert [seq for seq, _ in await _breaks(database)] == [2]


async def test_retention_leaves_the_rest_verifiable(database: Database, as_owner: AsOwner) -> None:
    await as_owner(
        "INSERT INTO security_events (id, kind, created_at)"
        " SELECT gen_random_uuid(), 'sign_in', now() - interval '1 day' * days FROM unnest(ARRAY[403, 402, 401]) days"
    )
    await _recorded(database, 4)
    old = await _head(database)
    async with database.transaction() as db:
        await audit.prune(db, 400)
    found = await verify(database, old)
    assert (found.breaks, found.verified, found.checkpoint.seq) == ([], 4, 3)
    await _recorded(database, 1)
    assert (await _breaks(database), (await _head(database)).seq) == ([], 8)
    await as_owner("DELETE FROM security_events WHERE seq = 4")
    assert [seq for seq, _ in await _breaks(database)] == [4]


async def test_retention_never_deletes_what_is_recent(database: Database) -> None:
    await _recorded(database, 2)
    with pytest.raises(DBAPIError, match="30 days"):
        async with database.transaction() as db:
            await audit.prune(db, 0)
    assert (await verify(database)).verified == 2


_TAMPERING = (
    "DELETE FROM security_events",
    "TRUNCATE security_events",
    "UPDATE security_events SET kind = 'sign_in_refused'",
    "UPDATE security_events SET created_at = now() - interval '1 year'",
    "UPDATE security_events SET account_id = NULL",
    "UPDATE security_events SET address = '198.51.100.1'",
    'UPDATE security_events SET details = \'{"device": "another"}\'',
    "UPDATE security_events SET details = '{}', address = NULL, salt = NULL WHERE seq IS NULL",
    "UPDATE security_events SET salt = sha256('x')",
    "UPDATE security_events SET content_hash = sha256('x') WHERE seq IS NOT NULL",
    "UPDATE security_events SET seq = NULL, chain_hash = NULL WHERE seq IS NOT NULL",
    "INSERT INTO security_events (id, kind, created_at) VALUES (gen_random_uuid(), 'sign_in', now())",
    "INSERT INTO security_events (id, kind, seq) VALUES (gen_random_uuid(), 'sign_in', 99)",
    "DELETE FROM audit_chain",
    "UPDATE audit_chain SET checkpoint_seq = 1",
    "INSERT INTO audit_chain SELECT 2, 0, head_hash, 0, head_hash, NULL FROM audit_chain",
    "ALTER TABLE security_events DISABLE TRIGGER USER",
)


@pytest.mark.parametrize("role", ["app", "fleet"])
async def test_the_application_can_only_append(database: Database, role: Any) -> None:
    await _recorded(database, 2)
    async with database.transaction() as db:
        audit.record(db, "sign_in", account_id=new_id(), address="203.0.113.7", device="not chained")
    for statement in _TAMPERING:
        with pytest.raises(DBAPIError) as refused:
            async with database.transaction(role=role) as db:
                await db.execute(text(statement))
        assert getattr(refused.value.orig, "sqlstate", None) == "42501", statement  # insufficient_privilege
    await _chained(database)
    assert (await verify(database)).verified == 3


async def test_many_writers_and_replicas_make_one_chain(database: Database, settings: Any) -> None:
    others = [Database(settings) for _ in range(2)]
    replicas = [Chaining(each) for each in (database, *others)]

    async def write(number: int) -> None:
        async with database.transaction() as db:
            audit.record(db, "sign_in", account_id=new_id(), address="203.0.113.7", number=number)
            await db.flush()
            await asyncio.sleep(0)  # the others begin and end their transactions meanwhile

    async def chain(replica: Chaining) -> None:
        while not writing.done():
            await replica.step()

    writing = asyncio.ensure_future(asyncio.gather(*(write(number) for number in range(100))))
    await asyncio.gather(writing, *(chain(replica) for replica in replicas))
    await _chained(database)
    found = await verify(database)
    assert (found.breaks, found.verified, found.head.seq) == ([], 100, 100)
    for other in others:
        await other.close()


async def test_the_head_is_logged_once_an_hour_by_one_replica(database: Database, as_owner: AsOwner) -> None:
    async def logged() -> list[tuple[int, str]]:
        with capture_logs() as lines:
            for _ in range(2):
                await asyncio.gather(*(Chaining(database).step() for _ in range(3)))
        return [(line["seq"], line["hash"]) for line in lines if line["event"] == "audit_head"]

    assert await logged() == []  # nothing is recorded
    async with database.transaction() as db:
        audit.record(db, "sign_in", account_id=new_id())
    first = await logged()
    assert first == [(1, (await _head(database)).hash.hex())]
    assert await logged() == []
    await as_owner("UPDATE audit_chain SET exported_at = exported_at - interval '1 hour'")
    assert await logged() == first


@pytest.fixture
def run(settings: AuthSettings, commands: Commands) -> Run:
    """`python -m auth_service audit …`: exit status, output and errors."""
    assert settings.database_url is not None
    values = {
        "ENVIRONMENT": "testing",
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "DATABASE__NAME": str(settings.database.name),
    }
    return partial(commands.run, "audit", environment=values)


async def test_the_commands_verify_export_and_erase(database: Database, run: Run, as_owner: AsOwner) -> None:
    ann = new_id()
    await _recorded(database, 2, ann)
    head = await _head(database)
    code, out, _ = await run("verify", "--head", str(head))
    assert (code, out) == (0, f"2 events verified: 1 to 2, 0 of them erased, 0 not chained yet. Head {head}\n")
    code, out, err = await run("export", "--after", "1")
    assert code == 0, err
    [line] = [json.loads(line) for line in out.splitlines()]
    assert (line["seq"], line["chain_hash"], line["details"]) == (2, head.hash.hex(), {"device": "No. 1"})
    assert (await run("erase", str(ann)))[:2] == (0, "2 events erased\n")
    await as_owner("UPDATE security_events SET kind = 'logout' WHERE seq = 2")
    code, _, err = await run("verify")
    assert (code, err.splitlines()[-1]) == (1, "The audit trail is broken in 1 places.")
    assert err.startswith("2 (event ")


# Reading


async def _list(door: Door, headers: dict[str, str], query: str = "") -> list[dict[str, Any]]:
    reply = await door.client.get(f"/auth/audit?{query}", headers=headers)
    assert reply.status_code == 200, reply.text
    items: list[dict[str, Any]] = reply.json()["items"]
    return items


async def test_a_person_sees_their_own_an_admin_the_tenants_an_operator_all(door: Door) -> None:
    ann, gil = await door.signed_up("ann", slug="acme"), await door.signed_up("gil", slug="globex")
    await door.login("ann", "Wrong-word-7")
    user, other = principal_of(ann), principal_of(gil)
    own = door.people.signer("gateway")
    plain = door.people.headers(own.forward(_with_scopes(user, set()), "auth"))
    assert [event["kind"] for event in await _list(door, plain)] == ["sign_in_refused", "sign_in", "account_registered"]
    assert {event["account_id"] for event in await _list(door, plain)} == {str(user.user_id)}
    stranger = door.people("zoe", tenant=user.tenant_id, scopes=["admin:read"])
    assert [event["kind"] for event in await _list(door, stranger)] == ["sign_in", "account_registered"]
    assert {event["tenant_id"] for event in await _list(door, stranger)} == {str(user.tenant_id)}
    operator = door.people("root", tenant=other.tenant_id, scopes=["system:read"])
    assert len(await _list(door, operator)) == 5
    assert await _list(door, door.people("zoe", scopes=["user:read"])) == []
    client = door.people.headers(own.forward(replace(user, client_id="app"), "auth"))
    assert {event["tenant_id"] for event in await _list(door, client)} == {str(user.tenant_id)}  # by admin:read alone
    client = door.people.headers(own.forward(replace(_with_scopes(user, set()), client_id="app"), "auth"))
    assert await _list(door, client) == []
    assert problem(await door.client.get("/auth/audit")) == (401, "unauthenticated")


async def test_the_filters(door: Door) -> None:
    ann = await door.signed_up("ann", slug="acme")
    await door.signed_up("gil", slug="globex")
    user = principal_of(ann)
    operator = door.people("root", scopes=["system:read"])
    assert {event["kind"] for event in await _list(door, operator, "kind=sign_in")} == {"sign_in"}
    both = await _list(door, operator, "kind=sign_in&kind=account_registered&limit=200")
    assert len(both) == 4
    [event] = await _list(door, operator, f"session_id={user.session_id}")
    assert (event["kind"], event["description"]) == ("sign_in", "The person signed in.")
    assert event["address"] == "127.0.0.1"
    assert len(await _list(door, operator, f"account_id={user.user_id}")) == 2
    assert await _list(door, operator, "created_before=2020-01-01T00:00:00Z") == []
    assert len(await _list(door, operator, "created_after=2020-01-01T00:00:00Z")) == 4
    reply = await door.client.get("/auth/audit?kind=picnic", headers=operator)
    assert problem(reply) == (422, "invalid_input")


def test_every_kind_has_a_description() -> None:
    assert set(get_args(Kind)) == set(DESCRIPTIONS)
    assert description("of_an_older_release") == "Of an older release."


async def test_what_was_silent_before_is_recorded(door: Door) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    body = {"current_password": "Wrong-word-7", "password": "Sail-away-8", "confirm_password": "Sail-away-8"}
    assert problem(await door.client.post("/auth/password", json=body, headers=door.bearer(tokens)))[0] == 403
    request = {"username": "ann", "password": "Sail-away-7", "email": "ann@example.org"}
    assert (await door.client.post("/auth/verify-email/request", json=request)).status_code == 202
    kinds = [event["kind"] for event in await _list(door, door.bearer(tokens))]
    assert kinds[:2] == ["email_change_requested", "password_change_refused"]


def _with_scopes(user: Principal, scopes: set[str]) -> Principal:
    return replace(user, scopes=frozenset(scopes), roles=frozenset())
