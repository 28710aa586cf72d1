"""The pages behind mailed links, as a browser without scripts uses them."""

import re
import tomllib
from importlib.resources import files
from string import Formatter
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from auth_service.app import service
from auth_service.languages import LANGUAGES, preferred
from auth_service.mails.texts import texts
from shared.identity.scopes import LISTED

from .door import Door
from .mailbox import Mailbox, link_in

ORIGIN = {"Origin": "http://localhost:8000"}
NEW = {"password": "Other-word-8", "confirm_password": "Other-word-8"}


def path_of(link: str) -> str:
    return link.removeprefix("http://localhost:8000")


def fields_of(html: str) -> dict[str, str]:
    """The hidden fields of the page's form."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', html))


async def send(door: Door, path: str, fields: dict[str, str], **headers: str) -> Any:
    return await door.client.post(f"/auth/pages/{path}", data=fields, headers=ORIGIN | headers)


async def test_a_password_is_reset_by_pages_alone(door: Door, mailbox: Mailbox) -> None:
    await door.signed_up("ann", slug="acme")
    shown = await door.client.get("/auth/pages/password/reset")
    assert shown.status_code == 200
    asked = await send(door, "password/reset", {"email": "ann@example.com"})
    assert (asked.status_code, asked.headers["location"]) == (303, "/auth/pages/password/reset/sent")
    assert "mailbox" in (await door.client.get(asked.headers["location"])).text
    link = path_of(link_in(await mailbox.received(1)))
    page = await door.client.get(link)
    again = await door.client.get(link)  # a scanner opened it first: nothing is spent
    assert page.text == again.text
    weak = await send(
        door, "password/reset/confirm", {**fields_of(page.text), "password": "x", "confirm_password": "y"}
    )
    assert (weak.status_code, "The password is too short." in weak.text) == (422, True)
    done = await send(door, "password/reset/confirm", {**fields_of(weak.text), **NEW})
    assert (done.status_code, done.headers["location"]) == (303, "/auth/pages/password-changed")
    assert (await door.login("ann", NEW["password"])).status_code == 200
    spent = await send(door, "password/reset/confirm", {**fields_of(page.text), **NEW})
    assert (spent.status_code, "Ask for a new link" in spent.text) == (400, True)


@pytest.mark.parametrize("path", ["verify-email?token=x", "password/reset", "password/reset/confirm?token=x"])
async def test_a_page_loads_nothing_foreign_and_is_framed_by_no_site(door: Door, path: str) -> None:
    page = await door.client.get(f"/auth/pages/{path}")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert (page.headers["cache-control"], page.headers["referrer-policy"]) == ("no-store", "same-origin")
    assert "<script" not in page.text
    assert "style=" not in page.text
    assert re.findall(r'(?:href|src|action)="([^"]+)"', page.text)
    assert all(url.startswith("/auth/pages/") for url in re.findall(r'(?:href|src|action)="([^"]+)"', page.text))


async def test_what_a_url_carries_is_shown_as_text(door: Door) -> None:
    page = await door.client.get("/auth/pages/verify-email", params={"token": '"><script>alert(1)</script>'})
    assert "<script" not in page.text
    assert "&#34;&gt;&lt;script" in page.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8000.evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost:8000"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_form_of_another_site_is_refused(door: Door, headers: dict[str, str]) -> None:
    reply = await door.client.post("/auth/pages/password/reset", data={"email": "ann@example.com"}, headers=headers)
    assert (reply.status_code, reply.headers["content-type"]) == (403, "text/html; charset=utf-8")
    assert await door.rows("SELECT 1 FROM mails") == []


async def test_a_page_is_in_the_browsers_language(door: Door) -> None:
    page = await door.client.get("/auth/pages/password/reset", headers={"Accept-Language": "de-CH,de;q=0.9"})
    assert '<html lang="de">' in page.text
    assert "Neues Passwort setzen" in page.text
    assert "Accept-Language" in page.headers["vary"]


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("pt", "en"),
        ("de", "de"),
        ("FR-ca", "fr"),
        ("en;q=0.5, es", "es"),
        ("de;q=0", "en"),
        ("de;q=x, es;q=0.1", "es"),
        (",;,=;q", "en"),
        ("de;q=nan, es", "es"),
    ],
)
def test_the_language_is_the_one_wanted_most(header: str | None, language: str) -> None:
    assert preferred(header) == language


def test_every_language_has_every_text_with_the_same_placeholders() -> None:
    english, pages = texts("en"), _pages("en")
    for language in LANGUAGES:
        assert texts(language).keys() == english.keys()
        assert _pages(language).keys() == pages.keys()
        for purpose, text in texts(language).items():
            assert _placeholders(text.text) == _placeholders(english[purpose].text), (language, purpose)
            assert not _placeholders(text.subject)
        for name, shown in _pages(language).items():
            assert _placeholders(shown) == _placeholders(pages[name]), (language, name)


@pytest.mark.parametrize(
    ("language", "informal"),
    [
        ("de", r"du|dich|dir|dein(e[mnrs]?)?"),
        ("es", r"tú|tus?|te|ti|contigo|tuy[ao]s?|eres|has|puedes|fuiste"),
        ("fr", r"tu|te|toi|ta|tes|tien(ne)?s?"),
    ],
)
def test_people_are_addressed_formally_everywhere(language: str, informal: str) -> None:
    mails = [f"{mail.subject}\n{mail.text}" for mail in texts(language).values()]
    for shown in [*_pages(language).values(), *mails]:
        assert re.search(rf"\b({informal})\b", shown, re.IGNORECASE) is None, shown


def test_scopes_that_people_are_asked_for_exist() -> None:
    described = {name.removeprefix("scope_") for name in _pages("en") if name.startswith("scope_")}
    assert described <= {scope["name"] for scope in LISTED}


def _pages(language: str) -> dict[str, str]:
    file = files("auth_service.pages").joinpath("languages", f"{language}.toml")
    return tomllib.loads(file.read_text(encoding="utf-8"))


def _placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("path", ["/auth/pages/sign-in", "/oauth2/authorize", "/oauth2/consent", "/oauth2/account/x"])
async def test_no_script_of_another_origin_reads_a_page(door: Door, path: str) -> None:
    """RFC 9700, section 2.6: CORS must not be supported at the authorization endpoint."""
    origin = {"Origin": "https://console.example"}
    for method in ("GET", "POST", "OPTIONS"):
        reply = await door.client.request(method, path, headers=origin | {"Access-Control-Request-Method": "GET"})
        assert [name for name in reply.headers if name.startswith("access-control-")] == []
    allowed = await door.client.get("/.well-known/oauth-authorization-server", headers=origin)
    assert allowed.headers["access-control-allow-origin"] == origin["Origin"]


def test_every_page_is_among_the_services_pages(app: FastAPI) -> None:
    paths = {route.path for route in app.routes if isinstance(route, APIRoute) and not route.include_in_schema}
    assert "/auth/pages/sign-in" in paths
    pages = tuple(service.pages)
    assert sorted(path for path in paths if not path.startswith(pages)) == []
