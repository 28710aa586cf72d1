"""`operators add EMAIL`: a mailed link makes the account that has verified the address an operator, once."""

import asyncio
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from auth_service.mails.service import MailLimitReached
from auth_service.operators.commands import invite, listed, revoke
from auth_service.settings import AuthSettings
from shared.testing import eventually
from shared.testing.fakes import FakeUsers

from .door import Door, claims_of
from .mailbox import Mailbox, link_in, text_of, token_in
from .oauth import Browser, Reply, fields_of

PAGE = "/oauth2/operator"


async def mailed(settings: AuthSettings, mailbox: Mailbox, email: str = "ann@example.com", number: int = 1) -> str:
    """The token of a link that was mailed to the address."""
    await invite(settings, email, "en")
    mail = await mailbox.received(number)
    assert (mail["To"], mail["Subject"]) == (email, "Become an operator")
    assert link_in(mail).startswith("http://localhost:8000/oauth2/operator?token=")
    assert "24 hours" in text_of(mail)
    return token_in(mail)


async def signed_in(door: Door, username: str) -> Browser:
    browser = Browser(door)
    assert (await browser.sign_in(username)).status_code == 303
    return browser


async def confirm(browser: Browser, token: str) -> Reply:
    """Open the link and confirm; the answer, or the page that refuses the link."""
    shown = await browser.get(PAGE, {"token": token})
    if shown.status_code != 200:
        return shown
    return await browser.send(PAGE, {"token": token, **fields_of(shown.text)})


async def roles_of(door: Door, username: str) -> list[str]:
    roles: list[str] = claims_of((await door.login(username)).json())["roles"]
    return roles


async def events(door: Door) -> list[dict[str, Any]]:
    return await door.rows(
        "SELECT kind, account_id::text AS account, address, details FROM security_events"
        " WHERE kind LIKE 'operator%' ORDER BY created_at"
    )


async def test_the_holder_of_the_link_becomes_an_operator(
    door: Door, settings: AuthSettings, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    ann = claims_of(await door.signed_up("ann", slug="acme"))["sub"]
    token = await mailed(settings, mailbox)
    browser = Browser(door)
    opened = await browser.get(PAGE, {"token": token})
    sign_in = opened.headers["location"]
    assert (opened.status_code, sign_in) == (303, f"/auth/pages/sign-in?continue={quote(f'{PAGE}?token={token}', '')}")
    back = await browser.sign_in("ann", sign_in)
    assert (back.status_code, back.headers["location"]) == (303, f"{PAGE}?token={token}")
    for _ in range(2):  # opening it spends nothing
        shown = await browser.get(back.headers["location"])
        assert "signed in as ann" in shown.text
        assert "Acme" in shown.text
    assert await roles_of(door, "ann") == ["admin"]
    done = await browser.send(PAGE, fields_of(shown.text))
    assert (done.status_code, done.headers["location"]) == (303, "/auth/pages/operator-added")
    assert "You are an operator" in (await browser.get(done.headers["location"])).text
    assert await roles_of(door, "ann") == ["admin", "system"]
    again = await confirm(browser, token)
    assert (again.status_code, "was used before" in again.text) == (400, True)
    assert await events(door) == [
        {"kind": "operator_link_mailed", "account": ann, "address": "command line", "details": {}},
        {"kind": "operator_link_used", "account": ann, "address": "127.0.0.1", "details": {}},
    ]
    assert token not in caplog.text
    assert [row for row in await door.rows("SELECT mails::text AS text FROM mails") if token in row["text"]] == []


async def test_a_person_who_registers_later_may_use_it(door: Door, settings: AuthSettings, mailbox: Mailbox) -> None:
    token = await mailed(settings, mailbox)
    await door.register("ann", slug="acme")
    assert (await confirm(await signed_in(door, "ann"), token)).status_code == 303
    assert await roles_of(door, "ann") == ["admin", "system"]


async def test_only_the_account_with_that_address_may_use_it(
    door: Door, settings: AuthSettings, mailbox: Mailbox
) -> None:
    await door.register("ann", slug="acme")
    await door.register("eve", slug="globex")
    token = await mailed(settings, mailbox)
    eve = await signed_in(door, "eve")
    refused = await eve.get(PAGE, {"token": token})
    assert (refused.status_code, "another address" in refused.text) == (403, True)
    assert "ann@example.com" not in refused.text
    own = fields_of((await (await signed_in(door, "ann")).get(PAGE, {"token": token})).text)
    for fields in (own, {"token": token, "csrf": ""}, {"token": token}):
        assert (await eve.send(PAGE, fields)).status_code == 403
    await door.run("UPDATE accounts SET email = NULL, unverified_email = 'ann@example.com' WHERE username = 'eve'")
    assert (await eve.get(PAGE, {"token": token})).status_code == 403
    assert await roles_of(door, "ann") == ["admin"]
    assert [one["kind"] for one in await events(door)] == ["operator_link_mailed"]


async def test_a_form_of_another_page_or_site_makes_no_operator(
    door: Door, settings: AuthSettings, mailbox: Mailbox
) -> None:
    await door.register("ann", slug="acme")
    token = await mailed(settings, mailbox)
    ann = await signed_in(door, "ann")
    fields = fields_of((await ann.get(PAGE, {"token": token})).text)
    device = fields_of((await ann.get("/oauth2/device")).text)
    assert (await ann.send(PAGE, {"token": token, "csrf": device["csrf"]})).status_code == 403
    assert (await ann.send(PAGE, fields, Origin="https://evil.example")).status_code == 403
    assert (await ann.send(PAGE, fields)).status_code == 303


async def test_it_needs_a_recent_sign_in_by_the_person_themselves(
    door: Door, settings: AuthSettings, mailbox: Mailbox
) -> None:
    await door.register("ann", slug="acme")
    token = await mailed(settings, mailbox)
    ann = await signed_in(door, "ann")
    fields = fields_of((await ann.get(PAGE, {"token": token})).text)
    await door.run("UPDATE sessions SET auth_time = auth_time - interval '11 minutes'")
    assert urlsplit((await ann.get(PAGE, {"token": token})).headers["location"]).path == "/auth/pages/sign-in"
    assert urlsplit((await ann.send(PAGE, fields)).headers["location"]).path == "/auth/pages/sign-in"
    await door.run("UPDATE sessions SET auth_time = now(), confined = true")
    assert (await ann.send(PAGE, fields)).status_code == 403
    assert await roles_of(door, "ann") == ["admin"]


async def test_of_many_uses_one_spends_it(door: Door, settings: AuthSettings, mailbox: Mailbox) -> None:
    await door.register("ann", slug="acme")
    token = await mailed(settings, mailbox)
    ann = await signed_in(door, "ann")
    fields = fields_of((await ann.get(PAGE, {"token": token})).text)
    replies = await asyncio.gather(*(ann.send(PAGE, fields) for _ in range(5)))
    assert sorted(reply.status_code for reply in replies) == [303, 400, 400, 400, 400]
    assert len(await events(door)) == 2


async def test_while_users_service_does_not_answer_the_link_stays_valid(
    door: Door, settings: AuthSettings, mailbox: Mailbox, users: FakeUsers
) -> None:
    await door.register("ann", slug="acme")
    token = await mailed(settings, mailbox)
    ann = await signed_in(door, "ann")
    users.down = True
    assert (await confirm(ann, token)).status_code == 503
    users.down = False
    assert (await confirm(ann, token)).status_code == 303
    assert await roles_of(door, "ann") == ["admin", "system"]


async def test_a_link_expires_and_wrong_ones_open_nothing(door: Door, settings: AuthSettings, mailbox: Mailbox) -> None:
    await door.register("ann", slug="acme")
    token = await mailed(settings, mailbox)
    ann = await signed_in(door, "ann")
    for wrong in ("", "x", token[:-1], "<script>", "é"):
        assert (await ann.get(PAGE, {"token": wrong})).status_code == 400
    await door.run("UPDATE links SET expires_at = now()")
    assert (await ann.get(PAGE, {"token": token})).status_code == 400
    signed_out = await Browser(door).get(PAGE, {"token": '"><script>'})
    assert signed_out.headers["location"] == f"/auth/pages/sign-in?continue={quote(PAGE, '')}"


async def test_operators_are_listed_and_removed(door: Door, settings: AuthSettings, mailbox: Mailbox) -> None:
    ann = claims_of(await door.signed_up("ann", slug="acme"))["sub"]
    assert (await confirm(await signed_in(door, "ann"), await mailed(settings, mailbox))).status_code == 303
    assert [line.split() for line in await listed(settings)] == [["ann", "ann@example.com", "acme"]]
    unused = await mailed(settings, mailbox, number=2)
    assert await revoke(settings, "Ann@example.com")
    assert await listed(settings) == []
    await door.a_minute_passes()
    assert await roles_of(door, "ann") == ["admin"]
    assert (await confirm(await signed_in(door, "ann"), unused)).status_code == 400
    assert [(one["kind"], one["account"]) for one in (await events(door))[2:]] == [
        ("operator_link_mailed", ann),
        ("operator_removed", ann),
    ]
    token = await mailed(settings, mailbox, "new@example.com", number=3)
    assert not await revoke(settings, "new@example.com")
    assert await door.rows("SELECT 1 FROM links WHERE purpose = 'operator'") == [], token


async def test_who_is_removed_while_they_accept_a_link_is_no_operator(
    door: Door, settings: AuthSettings, mailbox: Mailbox, users: FakeUsers
) -> None:
    await door.signed_up("ann", slug="acme")
    token = await mailed(settings, mailbox)
    ann = await signed_in(door, "ann")
    fields = {"token": token, **fields_of((await ann.get(PAGE, {"token": token})).text)}
    asked, removal = asyncio.Event(), asyncio.Event()

    async def until_the_removal_waits() -> None:
        asked.set()
        await removal.wait()

    async def removed_or_waiting() -> bool:
        return removing.done() or bool(await door.rows("SELECT 1 FROM pg_locks WHERE NOT granted"))

    users.before_effect = until_the_removal_waits
    accepting = asyncio.ensure_future(ann.send(PAGE, fields))
    await asked.wait()
    removing = asyncio.ensure_future(revoke(settings, "ann@example.com"))
    await eventually(removed_or_waiting)
    removal.set()
    assert (await accepting).status_code == 303
    assert await removing
    assert await listed(settings) == []
    await door.a_minute_passes()
    assert await roles_of(door, "ann") == ["admin"]


async def test_an_address_gets_three_links_in_an_hour(settings: AuthSettings, door: Door) -> None:
    for _ in range(3):
        await invite(settings, "ann@example.com", "de")
    with pytest.raises(MailLimitReached):
        await invite(settings, "ann@example.com", "de")
