"""Signing in by a mailed link: in the browser that asked for it, or by the code that another browser shows."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from .door import Door, Reply, claims_of, problem
from .mailbox import Mailbox, link_in, text_of, token_in

ORIGIN = {"Origin": "http://localhost:8000"}


async def ask(door: Door, email: str = "ann@example.com") -> Reply:
    return await door.client.post("/auth/magic-link", json={"email": email})


async def confirm(door: Door, **body: Any) -> Reply:
    return await door.client.post("/auth/magic-link/confirm", json=body)


@pytest.fixture
async def other_browser(door: Door) -> AsyncIterator[httpx2.AsyncClient]:
    """A browser without the cookie of the one that asked."""
    async with httpx2.AsyncClient(base_url=door.client.base_url) as browser:
        yield browser


async def code_shown(door: Door, other: httpx2.AsyncClient, token: str) -> str:
    reply = await other.post("/auth/magic-link/confirm", json={"token": token})
    assert problem(reply) == (403, "other_browser")
    return str(reply.json()["code_to_type"])


async def test_a_link_signs_in_the_browser_that_asked(door: Door, mailbox: Mailbox) -> None:
    await door.signed_up("ann", slug="acme")
    asked = await ask(door, "ANN@example.com")
    assert (asked.status_code, asked.content) == (202, b"null")
    flags = set(asked.headers["set-cookie"].split("; ")[1:])
    assert flags == {"HttpOnly", "Path=/auth", "SameSite=lax", "Max-Age=900"}
    mail = await mailbox.received(1)
    assert (mail["To"], mail["Subject"]) == ("ann@example.com", "Your sign-in link")
    assert link_in(mail).startswith("http://localhost:8000/auth/pages/magic-link/confirm?token=")
    reply = await confirm(door, token=token_in(mail))
    assert reply.status_code == 200, reply.text
    assert claims_of(reply.json())["tenant_slug"] == "acme"
    assert claims_of(reply.json())["amr"] == ["mail"]
    assert (await door.refresh(reply.json()["refresh_token"])).status_code == 200
    assert problem(await confirm(door, token=token_in(mail))) == (400, "link_invalid")


async def test_another_browser_shows_a_code_that_the_first_one_takes(
    door: Door, mailbox: Mailbox, other_browser: httpx2.AsyncClient
) -> None:
    await door.signed_up("ann", slug="acme")
    await ask(door)
    token = token_in(await mailbox.received(1))
    code = await code_shown(door, other_browser, token)
    assert code == await code_shown(door, other_browser, token)  # nothing is spent
    without = await other_browser.post("/auth/magic-link/confirm", json={"code": code})
    assert problem(without) == (400, "link_invalid")
    assert problem(await confirm(door, code="BBBB-BBBB")) == (400, "code_wrong")
    assert (await confirm(door, code=code.lower().replace("-", " "))).status_code == 200
    assert problem(await confirm(door, code=code)) == (400, "link_invalid")
    assert problem(await confirm(door, token=token)) == (400, "link_invalid")


async def test_five_wrong_codes_end_the_link(door: Door, mailbox: Mailbox, other_browser: httpx2.AsyncClient) -> None:
    await door.signed_up("ann", slug="acme")
    await ask(door)
    token = token_in(await mailbox.received(1))
    code = await code_shown(door, other_browser, token)
    replies = await asyncio.gather(*(confirm(door, code="BBBB-BBBB") for _ in range(20)))
    assert sorted(reply.json()["code"] for reply in replies) == ["code_wrong"] * 5 + ["link_invalid"] * 15
    assert problem(await confirm(door, code=code)) == (400, "link_invalid")
    assert problem(await confirm(door, token=token)) == (400, "link_invalid")


async def test_of_many_who_use_one_link_at_once_one_signs_in(door: Door, mailbox: Mailbox) -> None:
    await door.signed_up("ann", slug="acme")
    await ask(door)
    token = token_in(await mailbox.received(1))
    replies = await asyncio.gather(*(confirm(door, token=token) for _ in range(8)))
    assert sorted(reply.status_code for reply in replies) == [200] + [400] * 7


async def test_tenant_scope_and_lifetime_are_chosen_as_at_sign_in(door: Door, mailbox: Mailbox) -> None:
    await door.signed_up("ann", slug="acme")
    for number in (1, 2):
        await ask(door)
        await mailbox.received(number)
    first, second = (token_in(mail) for mail in mailbox.mails)
    assert problem(await confirm(door, token=first, tenant="globex")) == (404, "tenant_not_found")
    chosen = {"tenant": "acme", "scope": "profile:read", "cookie": True, "remember_me": True}
    reply = await confirm(door, token=second, **chosen)
    assert reply.json()["scope"] == "profile:read"
    assert "Max-Age=2592000" in reply.headers["set-cookie"]
    assert problem(await confirm(door, token=second, code="x")) == (422, "invalid_input")
    assert problem(await confirm(door)) == (422, "invalid_input")


async def test_a_link_expires_and_is_for_the_address_that_it_was_mailed_to(door: Door, mailbox: Mailbox) -> None:
    await door.signed_up("ann", slug="acme")
    for number in (1, 2, 3):
        await ask(door)
        await mailbox.received(number)
    late, moved, closed = (token_in(mail) for mail in mailbox.mails)
    assert problem(await ask(door)) == (429, "mail_limit_reached")
    await door.run(
        "UPDATE links SET expires_at = now() WHERE digest = sha256(CAST(:token AS bytea))", token=late.encode()
    )
    assert problem(await confirm(door, token=late)) == (400, "link_invalid")
    await door.run("UPDATE accounts SET email = 'lee@example.com'")
    assert problem(await confirm(door, token=moved)) == (400, "link_invalid")
    await door.run("UPDATE accounts SET email = 'ann@example.com', status = 'ending'")
    assert problem(await confirm(door, token=closed)) == (400, "link_invalid")


async def test_asking_reveals_nothing(door: Door, mailbox: Mailbox) -> None:
    await door.signed_up("ann", slug="acme")
    known, unknown = await ask(door), await ask(door, "eve@example.com")
    assert (known.status_code, known.content) == (unknown.status_code, unknown.content)
    await mailbox.received(2)
    stranger = next(mail for mail in mailbox.mails if mail["To"] == "eve@example.com")
    assert stranger["Subject"] == "No account with this email address"
    assert "http" not in text_of(stranger)
    assert problem(await ask(door, "no address")) == (422, "address_unmailable")


async def test_by_pages_alone(door: Door, mailbox: Mailbox, other_browser: httpx2.AsyncClient) -> None:
    await door.signed_up("ann", slug="acme")
    assert (await door.client.get("/auth/pages/magic-link")).status_code == 200
    asked = await door.client.post("/auth/pages/magic-link", data={"email": "ann@example.com"}, headers=ORIGIN)
    assert (asked.status_code, asked.headers["location"]) == (303, "/auth/pages/magic-link/sent")
    assert 'name="code"' in (await door.client.get(asked.headers["location"])).text
    link = link_in(await mailbox.received(1)).removeprefix("http://localhost:8000")
    elsewhere = await other_browser.get(link)
    [code] = re.findall(r"<strong>([A-Z]{4}-[A-Z]{4})</strong>", elsewhere.text)
    assert "<form" not in elsewhere.text
    page = await door.client.get(link)
    assert (page.status_code, page.text) == (200, (await door.client.get(link)).text)
    [token] = re.findall(r'name="token" value="([^"]+)"', page.text)
    confirmed = "/auth/pages/magic-link/confirm"
    wrong = await door.client.post(confirmed, data={"code": "BBBB-BBBB"}, headers=ORIGIN)
    assert (wrong.status_code, "The code is wrong" in wrong.text) == (400, True)
    refused = await other_browser.post(confirmed, data={"token": token}, headers=ORIGIN)
    assert code in refused.text
    foreign = await door.client.post(confirmed, data={"token": token}, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403
    done = await door.client.post(confirmed, data={"code": code}, headers=ORIGIN)
    assert (done.status_code, done.headers["location"]) == (303, "/auth/pages/signed-in")
    assert "flotilla_browser=" in str(done.headers.get_list("set-cookie"))
    assert (await door.client.get(done.headers["location"])).status_code == 200
    spent = await door.client.post(confirmed, data={"token": token}, headers=ORIGIN)
    assert (spent.status_code, "Sign in by email" in spent.text) == (400, True)
