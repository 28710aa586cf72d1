"""The page behind a mailed invitation: opening it spends nothing, and a signed-in person accepts it once."""

from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from shared.testing.fakes import FakeUsers

from .door import Door, claims_of
from .oauth import Browser, fields_of

PAGE, MAILED = "/oauth2/invitation", "/auth/pages/invitation"
TOKEN = "kq3mZ0wXr5yTb8nVc2LpHd-_secret"


@pytest.fixture
async def ann(door: Door, users: FakeUsers) -> str:
    """The id of ann of acme, whom globex has invited."""
    users.add_tenant("globex")
    users.invite("globex", "Ann@example.com", TOKEN, roles=["analyst", "user"])
    return str(claims_of(await door.signed_up("ann", slug="acme"))["sub"])


async def signed_in(door: Door, username: str) -> Browser:
    browser = Browser(door)
    assert (await browser.sign_in(username)).status_code == 303
    return browser


async def events(door: Door) -> list[dict[str, Any]]:
    return await door.rows(
        "SELECT account_id::text AS account, tenant_id::text AS tenant FROM security_events"
        " WHERE kind = 'invitation_accepted'"
    )


async def test_an_invited_person_signs_in_and_accepts(
    door: Door, users: FakeUsers, ann: str, caplog: pytest.LogCaptureFixture
) -> None:
    browser = Browser(door)
    opened = await browser.get(MAILED, {"token": TOKEN})
    assert (opened.status_code, opened.headers["location"]) == (303, f"{PAGE}?token={TOKEN}")
    shown = await browser.get(opened.headers["location"])
    assert "ann invites you to join Globex (globex) at Flotilla, with the roles: analyst, user." in shown.text
    assert "Ann@example.com" in shown.text
    assert "<form" not in shown.text
    sign_in = f"/auth/pages/sign-in?continue={quote(f'{PAGE}?token={TOKEN}', '')}"
    assert sign_in in shown.text
    back = await browser.sign_in("ann", sign_in)
    assert (back.status_code, back.headers["location"]) == (303, f"{PAGE}?token={TOKEN}")
    for _ in range(2):  # opening it spends nothing
        shown = await browser.get(back.headers["location"])
        assert "signed in as ann" in shown.text
    done = await browser.send(PAGE, fields_of(shown.text))
    assert (done.status_code, done.headers["location"]) == (303, "/auth/pages/invitation-accepted")
    assert "You are a member" in (await browser.get(done.headers["location"])).text
    globex = users.tenants["globex"]["id"]
    assert users.memberships[globex, ann]["roles"] == ["analyst", "user"]
    assert await events(door) == [{"account": ann, "tenant": globex}]
    assert claims_of((await door.login("ann", tenant="globex")).json())["tenant"] == globex
    again = await browser.send(PAGE, fields_of(shown.text))
    assert (again.status_code, "was accepted or withdrawn" in again.text) == (404, True)
    assert TOKEN not in caplog.text


async def test_another_persons_account_does_not_accept(door: Door, users: FakeUsers, ann: str) -> None:
    await door.register("eve", slug="evil")
    eve = await signed_in(door, "eve")
    fields = fields_of((await eve.get(PAGE, {"token": TOKEN})).text)
    refused = await eve.send(PAGE, fields)
    assert (refused.status_code, "mailed to another address" in refused.text) == (404, True)
    await door.run("UPDATE accounts SET email = NULL, unverified_email = 'x@example.com' WHERE username = 'eve'")
    assert (await eve.send(PAGE, fields)).status_code == 404
    assert TOKEN in users.invitations
    assert await events(door) == []


async def test_a_form_of_another_page_or_site_accepts_nothing(door: Door, users: FakeUsers, ann: str) -> None:
    browser = await signed_in(door, "ann")
    fields = fields_of((await browser.get(PAGE, {"token": TOKEN})).text)
    device = fields_of((await browser.get("/oauth2/device")).text)
    for body in ({"token": TOKEN, "csrf": device["csrf"]}, {"token": TOKEN}, {**fields, "token": TOKEN + "x"}):
        assert (await browser.send(PAGE, body)).status_code == 403
    assert (await browser.send(PAGE, fields, Origin="https://evil.example")).status_code == 403
    signed_out = await Browser(door).send(PAGE, fields)
    assert urlsplit(signed_out.headers["location"]).path == "/auth/pages/sign-in"
    assert TOKEN in users.invitations


async def test_a_confined_session_or_an_operator_accepts_nothing(door: Door, users: FakeUsers, ann: str) -> None:
    browser = await signed_in(door, "ann")
    fields = fields_of((await browser.get(PAGE, {"token": TOKEN})).text)
    await door.run("UPDATE sessions SET confined = true")
    assert (await browser.send(PAGE, fields)).status_code == 403
    assert TOKEN in users.invitations


async def test_a_member_is_told_so(door: Door, users: FakeUsers, ann: str) -> None:
    users.add_member("globex", ann, roles=["user"])
    browser = await signed_in(door, "ann")
    refused = await browser.send(PAGE, fields_of((await browser.get(PAGE, {"token": TOKEN})).text))
    assert (refused.status_code, "You are a member already" in refused.text) == (409, True)


async def test_while_users_service_does_not_answer_it_stays_valid(door: Door, users: FakeUsers, ann: str) -> None:
    browser = await signed_in(door, "ann")
    fields = fields_of((await browser.get(PAGE, {"token": TOKEN})).text)
    users.down = True
    assert (await browser.get(PAGE, {"token": TOKEN})).status_code == 503
    assert (await browser.send(PAGE, fields)).status_code == 503
    users.down = False
    assert (await browser.send(PAGE, fields)).status_code == 303


@pytest.mark.parametrize("token", ["", "x", '"><script>', "é", TOKEN[:-1]])
async def test_wrong_tokens_open_nothing(door: Door, ann: str, token: str) -> None:
    refused = await Browser(door).get(PAGE, {"token": token})
    assert refused.status_code == 404
    assert "<script>" not in refused.text
