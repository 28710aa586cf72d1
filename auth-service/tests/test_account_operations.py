"""What operators do on the command line: deactivate, reactivate and erase accounts."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select

from auth_service.audit.chain import unchained
from auth_service.audit.maintenance import Chaining
from auth_service.audit.verification import verify
from auth_service.settings import AuthSettings
from shared.data.database import Database
from shared.testing import eventually
from shared.testing.commands import Commands, Ended

from .door import Door, problem
from .factors import add_app
from .mailbox import Mailbox, text_of
from .oauth import Browser, code_for, registered

Run = Callable[..., Awaitable[Ended]]


@pytest.fixture
def run(settings: AuthSettings, commands: Commands) -> Run:
    """`python -m auth_service accounts …`: exit status, output and errors."""
    assert settings.database_url is not None
    assert settings.keys.encryption_key is not None
    values = {
        "ENVIRONMENT": "testing",
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "DATABASE__NAME": str(settings.database.name),
        "KEYS__ENCRYPTION_KEY": settings.keys.encryption_key.get_secret_value(),
    }
    return partial(commands.run, "accounts", environment=values)


async def done(run: Run, *arguments: str) -> str:
    code, out, err = await run(*arguments)
    assert (code, err) == (0, "")
    return out


async def account_of(door: Door, username: str) -> dict[str, Any]:
    [account] = await door.rows("SELECT * FROM accounts WHERE username = :username", username=username)
    return account


async def ask_for_a_link(door: Door) -> None:
    reply = await door.client.post("/auth/reactivate", json={"email": "ann@example.com"})
    assert reply.status_code == 202, reply.text


async def subjects(mailbox: Mailbox, last: str) -> list[str]:
    """Of all mails, once the one with the subject `last` is there."""
    await eventually(lambda: last in [mail["Subject"] for mail in mailbox.mails])
    return [str(mail["Subject"]) for mail in mailbox.mails]


async def test_the_person_cannot_undo_what_an_operator_did(door: Door, run: Run, mailbox: Mailbox) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    await door.signed_up("root", slug="globex")
    said = await done(run, "deactivate", "ANN@example.com", "--reason", "Case 7", "--by", "root")
    assert said == "The account of ANN@example.com is deactivated.\n"
    assert problem(await door.client.get("/auth/me", headers=door.bearer(tokens))) == (401, "invalid_token")
    assert problem(await door.login("ann")) == (403, "account_deactivated")
    await ask_for_a_link(door)
    await subjects(mailbox, "No account to reactivate")
    [told] = [mail for mail in mailbox.mails if mail["Subject"] == "Your account was deactivated"]
    assert "by the people who run" in text_of(told)
    assert "http" not in text_of(told)

    await done(run, "reactivate", "ann", "--reason", "Case closed")
    assert (await door.login("ann")).status_code == 200
    root, ann = await account_of(door, "root"), await account_of(door, "ann")
    kinds = ("account_deactivated", "account_reactivated")
    rows = await door.rows("SELECT * FROM security_events WHERE account_id = :id ORDER BY created_at", id=ann["id"])
    recorded = [(row["kind"], row["actor_id"], row["details"]) for row in rows if row["kind"] in kinds]
    assert recorded == [
        ("account_deactivated", root["id"], {"by": "operator", "reason": "Case 7"}),
        ("account_reactivated", None, {"by": "operator", "reason": "Case closed"}),
    ]
    events = await door.rows("SELECT type, data FROM outbox WHERE type LIKE 'account.%activated.v1' ORDER BY id")
    assert events == [
        {"type": "account.deactivated.v1", "data": {"by": "operator"}},
        {"type": "account.reactivated.v1", "data": {"by": "operator"}},
    ]


async def test_an_operator_takes_over_what_its_owner_deactivated(door: Door, run: Run, mailbox: Mailbox) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    assert (await door.client.post("/auth/deactivate", headers=door.bearer(tokens))).status_code == 204
    await ask_for_a_link(door)
    await subjects(mailbox, "Reactivate your account")
    await done(run, "deactivate", "ann", "--reason", "Case 7")
    assert await door.rows("SELECT 1 FROM links") == []
    code, _, err = await run("deactivate", "ann", "--reason", "again")
    assert (code, err) == (1, "nothing was done: the account of ann is deactivated by its operator\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("deactivate", "eve", "--reason", "x"), "no account has the username or verified email 'eve'\n"),
        (
            ("deactivate", "ann", "--reason", "x", "--by", "eve"),
            "no account has the username or verified email 'eve'\n",
        ),
        (("reactivate", "ann", "--reason", "x"), "nothing was done: the account of ann is active\n"),
        (("erase", "eve", "--yes"), "no account has the username or verified email 'eve'\n"),
    ],
)
async def test_what_cannot_be_done_is_said(door: Door, run: Run, arguments: tuple[str, ...], said: str) -> None:
    await door.signed_up("ann", slug="acme")
    assert await run(*arguments) == (1, "", said)
    assert (await door.login("ann")).status_code == 200


async def test_an_erased_account_leaves_its_id_and_a_whole_trail(door: Door, run: Run, database: Database) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    await door.signed_up("ben", slug="globex")
    await add_app(door, tokens)
    tokens = (await door.refresh(tokens["refresh_token"])).json()
    body = {"name": "Ann's import", "scopes": ["files:read"]}
    key = await door.client.post("/auth/api-keys", json=body, headers=door.bearer(tokens))
    planner = await registered(door, tokens)
    ann = await account_of(door, "ann")
    await chained(database)

    code, _, _ = await run("erase", "ann")  # nobody answers the question
    assert (code, (await account_of(door, "ann"))["status"]) == (1, "active")
    assert await done(run, "erase", "ann", "--yes") == f"The account {ann['id']} is erased.\n"
    erased = await account_of(door, f"erased-{ann['id'].hex}")
    left = {"email", "unverified_email", "deactivated_by", "last_tenant_id"}
    assert {name: erased[name] for name in left} == dict.fromkeys(left)
    assert (erased["id"], erased["status"], erased["password_hash"]) == (ann["id"], "erased", "")
    for table in ("sessions", "totp_factors", "recovery_codes", "api_keys", "links", "tickets", "oauth_consents"):
        rows = await door.rows(f"SELECT 1 FROM {table} WHERE account_id = :id", id=ann["id"])  # noqa: S608
        assert rows == [], table
    ended = await door.rows("SELECT kind, ref FROM revocations")
    assert {(row["kind"], row["ref"]) for row in ended} >= {("user", str(ann["id"])), ("session", key.json()["id"])}
    assert problem(await door.client.get("/auth/me", headers=door.bearer(tokens))) == (401, "invalid_token")
    introspected = await planner.post("introspect", {"token": tokens["access_token"]})
    assert introspected.json() == {"active": False}
    assert problem(await door.login("ann")) == (401, "sign_in_refused")
    events = await door.rows("SELECT subject, data FROM outbox WHERE type = 'account.erased.v1'")
    assert events == [{"subject": ann["id"], "data": {}}]

    trail = await door.rows("SELECT * FROM security_events WHERE account_id = :id", id=ann["id"])
    assert {row["kind"] for row in trail} >= {"sign_in", "account_erased", "audit_trail_erased"}
    assert {row["address"] for row in trail} == {None}
    assert "Ann" not in str([row["details"] for row in trail])
    await chained(database)
    found = await verify(database)
    assert (found.breaks, found.erased > 0) == ([], True)

    assert (await door.register("ann", slug="other")).status_code == 201  # username and email are free
    assert (await door.login("ben")).status_code == 200


async def chained(database: Database) -> None:
    while await database.finds(select(unchained())):
        await Chaining(database).step()


async def test_a_deactivated_account_can_be_erased_once(door: Door, run: Run) -> None:
    await door.signed_up("ann", slug="acme")
    ann = await account_of(door, "ann")
    await door.run(  # a link to the address alone
        "INSERT INTO links (digest, purpose, email, expires_at) VALUES ('x', 'operator', 'Ann@example.com', now())"
    )
    await done(run, "deactivate", "ann", "--reason", "asked to be forgotten")
    await done(run, "erase", "ann", "--yes", "--by", "ann")
    username = f"erased-{ann['id'].hex}"
    for command in (("erase", username, "--yes"), ("reactivate", username, "--reason", "x")):
        assert (await run(*command))[2] == f"nothing was done: the account of {username} is erased\n"
    details = await door.rows("SELECT details FROM security_events WHERE kind = 'account_deactivated'")
    assert details == [{"details": {}}]
    assert await door.rows("SELECT 1 FROM links") == []


async def test_a_consent_and_a_clients_session_are_erased(door: Door, run: Run) -> None:
    admin = await door.signed_up("ann", slug="acme")
    planner = await registered(door, admin)
    browser = Browser(door)
    await browser.sign_in("ann")
    held = (await planner.redeem(await code_for(browser, planner))).json()
    await done(run, "erase", "ann", "--yes")
    assert await door.rows("SELECT 1 FROM oauth_consents") == []
    assert (await planner.refresh(held["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await planner.post("introspect", {"token": held["access_token"]})).json() == {"active": False}
