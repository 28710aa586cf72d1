"""A person who leaves a sign-in for their mailbox comes back to the request that it was for, and nowhere else."""

import base64
import re
from html import unescape
from typing import Any
from urllib.parse import quote, urlencode

import httpx2
import pytest

from .door import PASSWORD, Door
from .factors import add_app
from .issuer import Browser
from .mailbox import Mailbox, link_in
from .oauth import CALLBACK, ORIGIN, registered

PAGES = "/auth/pages"
NEW = {"password": "Other-word-8", "confirm_password": "Other-word-8"}

Reply = httpx2.Response


async def asked(door: Door, **changes: Any) -> str:
    """An authorization request of a client."""
    client = await registered(door, await door.signed_up("ann", slug="acme"))
    return f"/oauth2/authorize?{urlencode(client.query(**changes))}"


def hidden(page: Reply) -> dict[str, str]:
    return {k: unescape(v) for k, v in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text)}


def links(page: Reply) -> list[str]:
    return [unescape(url) for url in re.findall(r'href="([^"]+)"', page.text)]


async def send(browser: Browser, path: str, page: Reply, **fields: str) -> Reply:
    return await browser.http.post(f"{PAGES}/{path}", data=hidden(page) | fields, headers=ORIGIN)


async def opened(browser: Browser, mailbox: Mailbox, number: int) -> Reply:
    """The page of the link in the mail."""
    return await browser.http.get(link_in(await mailbox.received(number)).removeprefix("http://localhost:8000"))


async def left(browser: Browser, path: str, continued: str, **fields: str) -> Reply:
    """The page that says that a mail is on its way, reached by the sign-in page's link to `path`."""
    sign_in = await browser.http.get((await browser.http.get(continued)).headers["location"])
    [link] = [url for url in links(sign_in) if url.startswith(f"{PAGES}/{path}?")]
    sent = await send(browser, path, await browser.http.get(link), **fields)
    assert (sent.status_code, sent.headers["location"].endswith("/sent")) == (303, True), sent.text
    return await browser.http.get(sent.headers["location"])


async def test_a_mailed_link_signs_in_and_goes_on_with_the_request(
    door: Door, browser: Browser, mailbox: Mailbox
) -> None:
    request = await asked(door)
    await left(browser, "magic-link", request, email="ann@example.com")
    page = await opened(browser, mailbox, 1)
    assert "form-action 'self' https://planner.example;" in page.headers["content-security-policy"]
    done = await send(browser, "magic-link/confirm", page)
    assert done.headers["location"].startswith("/oauth2/authorize?")
    consent = await browser.http.get(done.headers["location"])
    fields = hidden(consent) | {"decision": "allow"}
    allowed = await browser.http.post("/oauth2/consent", data=fields, headers=ORIGIN)
    assert allowed.headers["location"].startswith(CALLBACK)
    assert "flotilla_continue" not in browser.http.cookies


async def test_the_code_of_another_browser_goes_on_with_the_request(
    door: Door, browser: Browser, mailbox: Mailbox
) -> None:
    request = await asked(door)
    page = await left(browser, "magic-link", request, email="ann@example.com")
    assert "form-action 'self' https://planner.example;" in page.headers["content-security-policy"]
    elsewhere = await door.client.get(link_in(await mailbox.received(1)).removeprefix("http://localhost:8000"))
    [code] = re.findall(r'class="code"><strong>([A-Z-]+)<', elsewhere.text)
    wrong = await send(browser, "magic-link/confirm", page, code="BBBB-BBBB")
    done = await send(browser, "magic-link/confirm", wrong, code=code)
    assert done.headers["location"].startswith("/oauth2/authorize?")


async def test_the_second_factor_after_a_mailed_link_goes_on_with_the_request(
    door: Door, browser: Browser, mailbox: Mailbox
) -> None:
    request = await asked(door)
    app, _ = await add_app(door, (await door.login("ann")).json())
    await mailbox.received(1)
    await left(browser, "magic-link", request, email="ann@example.com")
    second = await send(browser, "magic-link/confirm", await opened(browser, mailbox, 2))
    assert "form-action 'self' https://planner.example;" in second.headers["content-security-policy"]
    done = await send(browser, "second-factor", second, code=app.code())
    assert done.headers["location"].startswith("/oauth2/authorize?")


async def test_a_new_password_leads_back_to_the_request(door: Door, browser: Browser, mailbox: Mailbox) -> None:
    request = await asked(door)
    sent = await left(browser, "password/reset", request, email="ann@example.com")
    back = f"{PAGES}/sign-in?continue={quote(request, safe='')}"
    assert back in links(sent)
    done = await send(browser, "password/reset/confirm", await opened(browser, mailbox, 1), **NEW)
    page = await browser.http.get(done.headers["location"])
    assert back in links(page)
    sign_in = await browser.http.get(back)
    fields = {"username": "ann", "password": NEW["password"]}
    assert (await send(browser, "sign-in", sign_in, **fields)).headers["location"].startswith("/oauth2/authorize?")
    elsewhere = await door.client.get(done.headers["location"])
    assert f"{PAGES}/sign-in" in links(elsewhere), "another browser has left no request"


async def test_a_verified_address_leads_back_to_the_request(door: Door, browser: Browser, mailbox: Mailbox) -> None:
    request = await asked(door)
    typed = {"username": "ann", "password": PASSWORD, "email": "new@example.com"}
    await left(browser, "verify-email/request", request, **typed)
    done = await send(browser, "verify-email", await opened(browser, mailbox, 1))
    page = await browser.http.get(done.headers["location"])
    assert f"{PAGES}/sign-in?continue={quote(request, safe='')}" in links(page)


async def test_a_wrong_password_verifies_no_address(door: Door, browser: Browser, mailbox: Mailbox) -> None:
    await door.signed_up("ann", slug="acme")
    page = await browser.http.get(f"{PAGES}/verify-email/request", params={"continue": "/oauth2/account"})
    typed = {"username": "ann", "password": "Wrong-word-1", "email": "new@example.com"}
    wrong = await send(browser, "verify-email/request", page, **typed)
    assert (wrong.status_code, hidden(wrong)) == (401, {"continue": "/oauth2/account"})
    assert 'value="new@example.com"' in wrong.text
    foreign = await browser.http.post(
        f"{PAGES}/verify-email/request", data=typed, headers={"Origin": "https://evil.example"}
    )
    assert foreign.status_code == 403
    assert mailbox.mails == []


@pytest.mark.parametrize("path", ["magic-link", "password/reset", "verify-email/request"])
@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/oauth2/authorize/../../evil",
        "/oauth2/account/../token",
        "/oauth2/authorizer",
        "/auth/pages/sign-in",
        "javascript:alert(1)",
        "/oauth2/authorize?a=\r\nSet-Cookie: x=y",
    ],
)
async def test_these_pages_lead_to_no_other_page(
    door: Door, browser: Browser, mailbox: Mailbox, path: str, elsewhere: str
) -> None:
    await door.signed_up("ann", slug="acme")
    page = await browser.http.get(f"{PAGES}/{path}", params={"continue": elsewhere})
    assert hidden(page) == {"continue": ""}
    fields = {"username": "ann", "password": PASSWORD, "email": "new@example.com"}
    wanted = fields if path == "verify-email/request" else {"email": "ann@example.com"}
    sent = await send(browser, path, page, **{**wanted, "continue": elsewhere})
    assert sent.status_code == 303
    assert "flotilla_continue" not in browser.http.cookies


@pytest.mark.parametrize("planted", ["https://evil.example", "//evil.example", "/oauth2/token", "\x00", "é"])
async def test_a_planted_cookie_leads_to_no_other_page(
    door: Door, browser: Browser, mailbox: Mailbox, planted: str
) -> None:
    await door.signed_up("ann", slug="acme")
    await send(browser, "magic-link", await browser.http.get(f"{PAGES}/magic-link"), email="ann@example.com")
    value = base64.urlsafe_b64encode(planted.encode()).decode()
    for cookie in (value, value.rstrip("="), planted if planted.isascii() and planted.isprintable() else "%%%"):
        shown = await browser.http.get(f"{PAGES}/password-changed", headers={"Cookie": f"flotilla_continue={cookie}"})
        assert f"{PAGES}/sign-in" in links(shown)
    browser.http.cookies.set("flotilla_continue", value.rstrip("="), path=PAGES)
    done = await send(browser, "magic-link/confirm", await opened(browser, mailbox, 1))
    assert done.headers["location"] == f"{PAGES}/signed-in"


async def test_a_request_that_a_cookie_cannot_hold_is_not_kept(door: Door, browser: Browser, mailbox: Mailbox) -> None:
    request = await asked(door, state="s" * 4000)
    await left(browser, "magic-link", request, email="ann@example.com")
    assert "flotilla_continue" not in browser.http.cookies
    done = await send(browser, "magic-link/confirm", await opened(browser, mailbox, 1))
    assert done.headers["location"] == f"{PAGES}/signed-in"


async def test_a_request_that_ended_meanwhile_ends_at_the_signed_in_page(
    door: Door, browser: Browser, mailbox: Mailbox
) -> None:
    request = await asked(door)
    await left(browser, "magic-link", request, email="ann@example.com")
    await door.run("DELETE FROM oauth_clients")
    done = await send(browser, "magic-link/confirm", await opened(browser, mailbox, 1))
    assert (done.status_code, done.headers["location"]) == (303, f"{PAGES}/signed-in")
