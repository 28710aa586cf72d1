"""Changing a password, and setting a new one by a mailed link."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from shared.data.database import Database
from shared.testing import eventually

from .door import PASSWORD, Door, new_password, problem
from .mailbox import Mailbox, link_in, text_of, token_in

NEW = "Other-word-8"


async def change(door: Door, tokens: dict[str, Any], current: str = PASSWORD, new: str = NEW) -> Any:
    body = {"current_password": current, **new_password(new)}
    return await door.client.post("/auth/password", json=body, headers=door.bearer(tokens))


async def ask(door: Door, email: str) -> Any:
    return await door.client.post("/auth/password/reset", json={"email": email})


async def confirm(door: Door, token: str, new: str = NEW) -> Any:
    return await door.client.post("/auth/password/reset/confirm", json={"token": token, **new_password(new)})


async def test_a_new_password_ends_the_other_sessions(door: Door, mailbox: Mailbox) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    other = (await door.login("ann")).json()
    reply = await change(door, tokens)
    assert (reply.status_code, reply.json()) == (200, {"sessions_ended": 1})
    assert problem(await door.refresh(other["refresh_token"])) == (401, "refresh_refused")
    assert (await door.refresh(tokens["refresh_token"])).status_code == 200
    ended = await door.rows("SELECT kind, ref FROM revocations")
    assert ended == [{"kind": "session", "ref": other["session_id"]}]
    assert problem(await door.login("ann")) == (401, "sign_in_refused")
    assert (await door.login("ann", NEW)).status_code == 200
    notice = await mailbox.received(1)
    assert (notice["To"], notice["Subject"]) == ("ann@example.com", "Your password was changed")


@pytest.mark.parametrize("way", ["change", "reset"])
async def test_a_new_password_takes_back_the_address_that_was_asked_for(door: Door, mailbox: Mailbox, way: str) -> None:
    """Else a thief of the old password asks for their own address, verifies it later, and resets the new one."""
    tokens = await door.signed_up("ann", slug="acme")
    asked = {"username": "ann", "password": PASSWORD, "email": "thief@example.com"}
    assert (await door.client.post("/auth/verify-email/request", json=asked)).status_code == 202
    link = token_in(await mailbox.received(1))
    if way == "change":
        assert (await change(door, tokens)).status_code == 200
    else:
        await ask(door, "ann@example.com")
        assert (await confirm(door, token_in(await mailbox.received(2)))).status_code == 204
    assert problem(await door.client.post("/auth/verify-email", json={"token": link})) == (400, "link_invalid")
    assert (await door.login("ann@example.com", NEW)).status_code == 200


async def test_a_password_is_changed_by_who_knows_it(door: Door) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    assert problem(await change(door, tokens, current="Wrong-word-7")) == (403, "password_wrong")
    weak = await change(door, tokens, new="my-ann-word")
    assert {error["code"] for error in weak.json()["errors"]} == {
        "password_too_simple",
        "password_contains_username",
        "password_contains_email",
    }
    for _ in range(9):
        await change(door, tokens, current="Wrong-word-7")
    assert problem(await change(door, tokens)) == (429, "sign_in_throttled")


async def test_of_two_changes_at_once_one_wins(door: Door) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    replies = await asyncio.gather(*(change(door, tokens, new=f"Other-word-{number}") for number in range(4)))
    assert sorted(reply.status_code for reply in replies) == [200, 403, 403, 403]


async def test_a_forgotten_password_is_reset_by_a_mailed_link(door: Door, mailbox: Mailbox) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    assert (await ask(door, "ANN@example.com")).status_code == 202
    mail = await mailbox.received(1)
    assert (mail["To"], mail["Subject"]) == ("ann@example.com", "Set a new password")
    assert link_in(mail).startswith("http://localhost:8000/auth/pages/password/reset/confirm?token=")
    weak = await confirm(door, token_in(mail), new="weak")
    assert (weak.status_code, problem(weak)) == (422, (422, "invalid_input"))  # the link is not spent
    assert (await confirm(door, token_in(mail))).status_code == 204
    assert problem(await door.refresh(tokens["refresh_token"])) == (401, "refresh_refused")
    assert problem(await door.client.get("/auth/me", headers=door.bearer(tokens))) == (401, "invalid_token")
    assert (await door.login("ann", NEW)).status_code == 200
    assert problem(await confirm(door, token_in(mail), new=PASSWORD)) == (400, "link_invalid")


async def test_of_many_who_spend_one_link_at_once_one_does(door: Door, mailbox: Mailbox) -> None:
    await door.signed_up("ann", slug="acme")
    await ask(door, "ann@example.com")
    token = token_in(await mailbox.received(1))
    replies = await asyncio.gather(*(confirm(door, token, new=f"Other-word-{number}") for number in range(8)))
    assert sorted(reply.status_code for reply in replies) == [204] + [400] * 7


async def test_a_reset_opens_an_account_that_is_throttled(door: Door, mailbox: Mailbox) -> None:
    await door.signed_up("ann", slug="acme")
    for _ in range(10):
        await door.login("ann", "Wrong-word-7")
    assert problem(await door.login("ann")) == (429, "sign_in_throttled")
    await ask(door, "ann@example.com")
    await confirm(door, token_in(await mailbox.received(1)))
    assert (await door.login("ann", NEW)).status_code == 200


async def test_links_end_with_the_password_or_the_address_that_they_are_for(door: Door, mailbox: Mailbox) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    await ask(door, "ann@example.com")
    first = token_in(await mailbox.received(1))
    await change(door, tokens)
    assert problem(await confirm(door, first)) == (400, "link_invalid")
    await mailbox.received(2)
    await ask(door, "ann@example.com")
    second = token_in(await mailbox.received(3))
    await door.run("UPDATE accounts SET email = 'lee@example.com'")
    assert problem(await confirm(door, second)) == (400, "link_invalid")


async def test_asking_reveals_nothing(door: Door, mailbox: Mailbox) -> None:
    await door.signed_up("ann", slug="acme")
    known, unknown = await ask(door, "ann@example.com"), await ask(door, "eve@example.com")
    assert (known.status_code, known.content) == (unknown.status_code, unknown.content) == (202, b"null")
    await mailbox.received(2)
    assert {str(mail["To"]) for mail in mailbox.mails} == {"ann@example.com", "eve@example.com"}
    stranger = next(mail for mail in mailbox.mails if mail["To"] == "eve@example.com")
    assert stranger["Subject"] == "No account with this email address"
    assert "http" not in text_of(stranger)
    for address in ("ann@example.com", "eve@example.com"):
        assert [(await ask(door, address)).status_code for _ in range(3)] == [202, 202, 429]
    assert problem(await ask(door, "no address")) == (422, "address_unmailable")


async def test_a_mail_is_encrypted_until_it_is_sent_and_then_gone(door: Door, mailbox: Mailbox) -> None:
    await door.signed_up("ann", slug="acme")
    mailbox.script.answers["MAIL"] = "451 later"
    await ask(door, "ann@example.com")
    await mail_becomes(door, "attempts > 0")
    [waiting] = await door.rows("SELECT sealed FROM mails")
    assert b"ann@example.com" not in waiting["sealed"]
    assert mailbox.mails == []
    del mailbox.script.answers["MAIL"]
    await mailbox.received(1)
    await mail_becomes(door, "sealed IS NULL AND sent_at IS NOT NULL")


async def test_a_mail_that_the_server_refuses_is_not_sent_again(door: Door, mailbox: Mailbox) -> None:
    await door.signed_up("ann", slug="acme")
    mailbox.script.answers["RCPT"] = "550 no such user"
    await ask(door, "ann@example.com")
    await mail_becomes(door, "sealed IS NULL AND sent_at IS NULL AND attempts = 1")


async def mail_becomes(door: Door, condition: str) -> None:
    """Until the one mail is in that state."""

    async def there() -> bool:
        return bool(await door.rows(f"SELECT 1 FROM mails WHERE {condition}"))  # noqa: S608 - conditions from above

    await eventually(there)


async def test_a_sign_in_under_way_ends_with_the_password(door: Door, database: Database) -> None:
    """An attacker who knows the old password and signs in again and again has no session after its change."""
    await door.register("ann")

    async def waits() -> bool:
        return bool(await door.rows("SELECT 1 FROM pg_locks WHERE NOT granted"))

    async with database.transaction() as db:
        await db.execute(text("UPDATE accounts SET password_hash = 'changed' WHERE username = 'ann'"))
        signing_in = asyncio.create_task(door.login("ann"))
        await eventually(waits, within_s=10, saying="the sign-in has checked the password")
    assert (await signing_in).status_code == 401
    assert await door.rows("SELECT id FROM sessions WHERE ended_at IS NULL") == []
