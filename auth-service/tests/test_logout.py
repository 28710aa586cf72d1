"""Signing out of the browser at a client's request (OpenID Connect RP-Initiated Logout 1.0)."""

from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
from pydantic import SecretStr

from auth_service.keyring import Keyring
from auth_service.settings import KeySettings
from auth_service.signing_keys import service as signing_keys
from shared.identity.tokens import sign

from .door import Door
from .oauth import Browser, OAuthClient, answer_of, code_for, fields_of, registered

GOODBYE = "https://planner.example/goodbye"
SIGNED_OUT = "/auth/pages/signed-out"


@pytest.fixture
async def admin(door: Door) -> dict[str, Any]:
    """Ann, the admin of a tenant."""
    return await door.signed_up("ann", slug="acme")


@pytest.fixture
async def planner(door: Door, admin: dict[str, Any]) -> OAuthClient:
    return await registered(door, admin, post_logout_redirect_uris=[GOODBYE])


@pytest.fixture
async def browser(door: Door, admin: dict[str, Any]) -> Browser:
    """Ann's browser, signed in."""
    found = Browser(door)
    assert (await found.sign_in("ann")).status_code == 303
    return found


async def is_signed_in(browser: Browser, client: OAuthClient) -> bool:
    reply = await browser.get("/oauth2/authorize", client.query())
    return urlsplit(reply.headers.get("location", "")).path != "/auth/pages/sign-in"


async def test_a_client_signs_out_by_its_id_token(browser: Browser, planner: OAuthClient) -> None:
    tokens = (await planner.redeem(await code_for(browser, planner))).json()
    lasting = (await planner.redeem(await code_for(browser, planner, scope="openid offline_access"))).json()
    query = {"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": GOODBYE, "state": "s 1&x"}
    cookies = dict(browser.cookies)
    reply = await browser.get("/oauth2/logout", query)
    assert reply.headers["location"] == f"{GOODBYE}?state=s+1%26x"
    assert answer_of(reply) == {"state": "s 1&x"}
    assert "Max-Age=0" in reply.headers["set-cookie"]
    browser.cookies = cookies  # a copy of the cookie is worth nothing either
    assert not await is_signed_in(browser, planner)
    assert (await planner.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await planner.refresh(lasting["refresh_token"])).status_code == 200
    again = await browser.get("/oauth2/logout", query)
    assert again.headers["location"].startswith(GOODBYE), "nothing is left to confirm"


async def test_the_parameters_may_be_a_form(browser: Browser, planner: OAuthClient) -> None:
    tokens = (await planner.redeem(await code_for(browser, planner))).json()
    reply = await browser.send("/oauth2/logout", {"id_token_hint": tokens["id_token"]}, Origin="https://other.example")
    assert reply.headers["location"].startswith("/oauth2/logout?id_token_hint=")
    assert (await browser.get(reply.headers["location"])).headers["location"] == SIGNED_OUT
    assert not await is_signed_in(browser, planner)


async def test_without_a_hint_the_person_confirms(door: Door, browser: Browser, planner: OAuthClient) -> None:
    query = {"client_id": planner.id, "post_logout_redirect_uri": GOODBYE, "ui_locales": "fr-CA de"}
    page = await browser.get("/oauth2/logout", query)
    assert (page.status_code, '<html lang="fr">' in page.text, "Planner" in page.text) == (200, True, True)
    assert "form-action 'self' https://planner.example;" in page.headers["content-security-policy"]
    assert await is_signed_in(browser, planner)
    fields = fields_of(page.text)
    consent = fields_of((await browser.get("/oauth2/authorize", planner.query())).text)
    other = {**fields, "request": "post_logout_redirect_uri=https://evil.example"}
    for bent in ({**fields, "csrf": ""}, {**fields, "csrf": consent["csrf"]}, consent, other):
        assert (await browser.send("/oauth2/logout/confirm", bent)).status_code == 403
    foreign = await browser.send("/oauth2/logout/confirm", fields, Origin="https://evil.example")
    assert foreign.status_code == 403
    assert await is_signed_in(browser, planner)
    reply = await browser.send("/oauth2/logout/confirm", fields)
    assert reply.headers["location"] == GOODBYE
    assert not await is_signed_in(browser, planner)
    assert "You are signed out" in (await door.client.get(SIGNED_OUT)).text


async def test_a_browser_that_is_not_signed_in_is_sent_nowhere_without_a_hint(
    browser: Browser, door: Door, planner: OAuthClient
) -> None:
    """Anyone may sign up a tenant and register a phishing page: a link to this server must not lead there."""
    query = {"client_id": planner.id, "post_logout_redirect_uri": GOODBYE}
    for hint in ({}, {"id_token_hint": "x"}):
        assert (await Browser(door).get("/oauth2/logout", query | hint)).headers["location"] == SIGNED_OUT
    assert await is_signed_in(browser, planner)


async def test_a_hint_of_another_sign_in_signs_nobody_out(door: Door, browser: Browser, planner: OAuthClient) -> None:
    """Else any client's ID token would sign a person out of every browser that it lures to this page."""
    elsewhere = Browser(door)
    await elsewhere.sign_in("ann")
    hint = (await planner.redeem(await code_for(elsewhere, planner))).json()["id_token"]
    reply = await browser.get("/oauth2/logout", {"id_token_hint": hint, "post_logout_redirect_uri": GOODBYE})
    assert (reply.status_code, "Sign out?" in reply.text) == (200, True)
    assert await is_signed_in(browser, planner)
    assert await is_signed_in(elsewhere, planner)


async def test_a_hint_by_a_retired_key_is_accepted_a_forged_one_is_not(
    door: Door, browser: Browser, planner: OAuthClient
) -> None:
    tokens = (await planner.redeem(await code_for(browser, planner))).json()
    claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    head, body, signature = tokens["id_token"].split(".")
    kid = jwt.get_unverified_header(tokens["id_token"])["kid"]
    forged = [
        jwt.encode(claims, key="", algorithm="none", headers={"kid": kid, "typ": "JWT"}),
        jwt.encode(claims, "k" * 64, "HS256", {"kid": kid, "typ": "JWT"}),
        f"{head}.{body}.{signature[:-8]}AAAAAAAA",
        tokens["access_token"],
        "x.y.z",
    ]
    for hint in forged:
        assert (await browser.get("/oauth2/logout", {"id_token_hint": hint})).status_code == 200
        uri = await browser.get("/oauth2/logout", {"id_token_hint": hint, "post_logout_redirect_uri": GOODBYE})
        assert (uri.status_code, "location" in uri.headers) == (400, False)
    assert await is_signed_in(browser, planner)
    await door.run("UPDATE signing_keys SET status = 'retired', retired_at = now() WHERE kid = :kid", kid=kid)
    assert (await browser.get("/oauth2/logout", {"id_token_hint": tokens["id_token"]})).status_code == 303
    assert not await is_signed_in(browser, planner)


async def test_an_expired_hint_is_accepted(
    door: Door, browser: Browser, planner: OAuthClient, encryption_key: str
) -> None:
    """An ID token lives ten minutes, a sign-in longer (section 4)."""
    tokens = (await planner.redeem(await code_for(browser, planner))).json()
    claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    async with door.database.transaction() as db:
        keys = await signing_keys.active_keys(db, Keyring.load(KeySettings(encryption_key=SecretStr(encryption_key))))
    day_old = {**claims, "iat": claims["iat"] - 86_400, "exp": claims["exp"] - 86_400}
    hint = sign(day_old, keys["RS256"], typ="JWT")
    assert (await browser.get("/oauth2/logout", {"id_token_hint": hint})).status_code == 303
    assert not await is_signed_in(browser, planner)


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/",
        f"{GOODBYE}/",
        f"{GOODBYE}?x=1",
        f"{GOODBYE}#f",
        "https://planner.example.evil.example/goodbye",
        "https://planner.example/callback",
        "//planner.example/goodbye",
        "/goodbye",
        "javascript:alert(1)",
    ],
)
async def test_no_browser_is_sent_to_another_address(browser: Browser, planner: OAuthClient, uri: str) -> None:
    hint = (await planner.redeem(await code_for(browser, planner))).json()["id_token"]
    for named in ({"id_token_hint": hint}, {"client_id": planner.id}, {}):
        reply = await browser.get("/oauth2/logout", {**named, "post_logout_redirect_uri": uri})
        assert (reply.status_code, "location" in reply.headers) == (400, False)
    assert await is_signed_in(browser, planner)


async def test_client_and_hint_must_agree(
    door: Door, admin: dict[str, Any], browser: Browser, planner: OAuthClient
) -> None:
    other = await registered(door, admin, post_logout_redirect_uris=["https://other.example/"])
    hint = (await planner.redeem(await code_for(browser, planner))).json()["id_token"]
    reply = await browser.get("/oauth2/logout", {"id_token_hint": hint, "client_id": other.id})
    assert (reply.status_code, "not valid" in reply.text) == (400, True)
    twice = await browser.get("/oauth2/logout", {"client_id": [planner.id, other.id]})
    assert twice.status_code == 400


async def test_discovery_names_the_endpoint(door: Door) -> None:
    found = (await door.client.get("/.well-known/openid-configuration")).json()
    assert found["end_session_endpoint"].endswith("/oauth2/logout")
