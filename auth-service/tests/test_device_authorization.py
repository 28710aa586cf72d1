"""Device authorization (RFC 8628): a device shows a code, the person allows it in a browser, the device polls."""

import asyncio
import re
from typing import Any

import pytest

from auth_service.maintenance import prunes
from auth_service.settings import AuthSettings
from shared.settings import ServiceSettings

from .door import PASSWORD, Door, claims_of
from .oauth import Browser, OAuthClient, Reply, fields_of, registered

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
PAGE = "/oauth2/device"
SCOPE = "openid offline_access jobs:read admin:write"


@pytest.fixture
async def admin(door: Door) -> dict[str, Any]:
    """Ann, the admin of a tenant."""
    return await door.signed_up("ann", slug="acme")


@pytest.fixture
async def tv(door: Door, admin: dict[str, Any]) -> OAuthClient:
    """A public client, on a television."""
    return await registered(
        door,
        admin,
        client_name="Television",
        redirect_uris=[],
        grant_types=[GRANT, "refresh_token"],
        token_endpoint_auth_method="none",
        scope=SCOPE,
    )


@pytest.fixture
async def browser(door: Door, admin: dict[str, Any]) -> Browser:
    """Ann's browser, signed in."""
    found = Browser(door)
    assert (await found.sign_in("ann")).status_code == 303
    return found


async def started(client: OAuthClient, **form: str) -> dict[str, Any]:
    reply = await client.post("device_authorization", form)
    assert (reply.status_code, reply.headers["cache-control"]) == (200, "no-store"), reply.text
    body: dict[str, Any] = reply.json()
    return body


async def poll(client: OAuthClient, asked: dict[str, Any]) -> Reply:
    return await client.post("token", {"grant_type": GRANT, "device_code": asked["device_code"]})


async def error(client: OAuthClient, asked: dict[str, Any]) -> str:
    reply = await poll(client, asked)
    assert reply.status_code == 400, reply.text
    return str(reply.json()["error"])


async def entered(browser: Browser, user_code: str) -> Reply:
    """Open the page, enter the code; the page that follows."""
    shown = await browser.get(PAGE)
    return await browser.send(PAGE, {**fields_of(shown.text), "user_code": user_code})


async def answered(browser: Browser, user_code: str, decision: str = "allow") -> Reply:
    consent = await entered(browser, user_code)
    assert consent.status_code == 200, consent.text
    return await browser.send(PAGE, {**fields_of(consent.text), "decision": decision})


async def time_passes(door: Door, interval: str) -> None:
    await door.run(
        "UPDATE device_codes SET polled_at = polled_at - CAST(:by AS text)::interval,"
        " expires_at = expires_at - CAST(:by AS text)::interval",
        by=interval,
    )


async def test_a_person_allows_a_device(door: Door, admin: dict[str, Any], tv: OAuthClient) -> None:
    asked = await started(tv)
    assert re.fullmatch("[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", asked["user_code"])
    assert (asked["expires_in"], asked["interval"]) == (600, 5)
    assert asked["verification_uri_complete"] == f"{asked['verification_uri']}?user_code={asked['user_code']}"
    assert await error(tv, asked) == "authorization_pending"
    browser = Browser(door)
    to_sign_in = await browser.get(PAGE, {"user_code": asked["user_code"]})
    signed_in = await browser.sign_in("ann", to_sign_in.headers["location"])
    assert signed_in.headers["location"] == f"{PAGE}?user_code={asked['user_code']}"
    page = await browser.get(signed_in.headers["location"])
    assert f'value="{asked["user_code"]}"' in page.text, "the person compares and sends it"
    consent = await browser.send(PAGE, {**fields_of(page.text), "user_code": asked["user_code"].lower()})
    for seen in ("Allow Television?", "ann", "Acme", asked["user_code"], "Sensitive"):
        assert seen in consent.text, seen
    await time_passes(door, "5 seconds")
    assert await error(tv, asked) == "authorization_pending"
    done = await browser.send(PAGE, {**fields_of(consent.text), "decision": "allow"})
    assert (done.status_code, done.headers["location"]) == (303, "/auth/pages/device-allowed")
    assert "connected" in (await browser.get(done.headers["location"])).text
    reply = await poll(tv, asked)
    assert (reply.status_code, reply.headers["cache-control"]) == (200, "no-store")
    tokens = reply.json()
    assert tokens["scope"] == "admin:write jobs:read offline_access openid"
    claims = claims_of(tokens)
    assert (claims["client_id"], claims["tenant_slug"], claims["amr"]) == (tv.id, "acme", ["pwd"])
    assert "id_token" in tokens
    assert (await tv.refresh(tokens["refresh_token"])).status_code == 200
    assert await error(tv, asked) == "invalid_grant", "a code is spent once"
    consents = (await door.client.get("/oauth2/consents", headers=door.bearer(admin))).json()["items"]
    assert [one["client_name"] for one in consents] == ["Television"]


async def test_each_device_is_asked_for(browser: Browser, tv: OAuthClient) -> None:
    for _ in range(2):
        asked = await started(tv, scope="openid jobs:read")
        assert (await answered(browser, asked["user_code"])).status_code == 303
        assert (await poll(tv, asked)).status_code == 200


async def test_a_person_refuses_a_device(door: Door, browser: Browser, tv: OAuthClient) -> None:
    asked = await started(tv)
    reply = await answered(browser, asked["user_code"], "deny")
    assert reply.headers["location"] == "/auth/pages/device-refused"
    assert await error(tv, asked) == "access_denied"
    assert (await entered(browser, asked["user_code"])).status_code == 404


async def test_a_device_that_polls_too_fast_is_slowed_down(door: Door, browser: Browser, tv: OAuthClient) -> None:
    asked = await started(tv)
    assert [await error(tv, asked) for _ in range(2)] == ["authorization_pending", "slow_down"]
    await time_passes(door, "5 seconds")
    assert await error(tv, asked) == "slow_down", "the interval has become ten seconds"
    await time_passes(door, "15 seconds")
    assert await error(tv, asked) == "authorization_pending"
    await answered(browser, asked["user_code"])
    assert (await poll(tv, asked)).status_code == 200


async def test_of_two_pollers_one_gets_tokens(door: Door, browser: Browser, tv: OAuthClient) -> None:
    asked = await started(tv)
    await answered(browser, asked["user_code"])
    replies = await asyncio.gather(*(poll(tv, asked) for _ in range(10)))
    assert sorted(reply.status_code for reply in replies) == [200] + [400] * 9
    assert len(await door.rows("SELECT 1 FROM sessions WHERE client_id = :id", id=tv.id)) == 1


async def test_a_code_expires(door: Door, browser: Browser, tv: OAuthClient, settings: ServiceSettings) -> None:
    asked, late = await started(tv), await started(tv)
    await answered(browser, late["user_code"])
    await time_passes(door, "10 minutes")
    assert (await entered(browser, asked["user_code"])).status_code == 404
    assert [await error(tv, asked), await error(tv, late)] == ["expired_token", "expired_token"]
    await time_passes(door, "1 hour")
    assert isinstance(settings, AuthSettings)
    for prune in prunes(settings):
        async with door.database.transaction() as db:
            await prune(db)
    assert await door.rows("SELECT 1 FROM device_codes") == []


async def test_only_the_clients_own_codes_are_accepted(
    door: Door, admin: dict[str, Any], browser: Browser, tv: OAuthClient
) -> None:
    other = await registered(door, admin, redirect_uris=[], grant_types=[GRANT], scope="openid")
    asked = await started(tv)
    await answered(browser, asked["user_code"])
    for wrong in (asked, {"device_code": "x"}, {"device_code": asked["user_code"]}):
        assert await error(other, wrong) == "invalid_grant"
    assert (await poll(tv, asked)).status_code == 200
    reply = await other.post("device_authorization", {"client_id": tv.id})
    assert (reply.status_code, reply.json()["error"]) == (401, "invalid_client")
    web = await registered(door, admin)
    refused = await web.post("device_authorization", {"scope": "openid"})
    assert (refused.status_code, refused.json()["error"]) == (400, "unauthorized_client")
    for form, expected in (
        ({"scope": "chat:read"}, "invalid_scope"),
        ({"resource": "https://x.example"}, "invalid_target"),
    ):
        assert (await tv.post("device_authorization", form)).json()["error"] == expected


async def test_guesses_are_throttled(door: Door, admin: dict[str, Any], browser: Browser, tv: OAuthClient) -> None:
    asked = await started(tv)
    guesses = [await entered(browser, "BBBB-BBBB") for _ in range(11)]
    assert [reply.status_code for reply in guesses] == [404] * 10 + [429]
    assert int(guesses[-1].headers["retry-after"]) > 0
    right = await entered(browser, asked["user_code"])
    assert (right.status_code, "Television" in right.text) == (429, False)
    await door.signed_up("bob", slug="bobs")
    other = Browser(door)
    await other.sign_in("bob")
    assert (await entered(other, "BBBB-BBBB")).status_code == 404, "another account is not held up"


async def test_forms_need_the_token_of_their_own_page(door: Door, browser: Browser, tv: OAuthClient) -> None:
    asked, other = await started(tv), await started(tv)
    fields = fields_of((await entered(browser, asked["user_code"])).text)
    code = other["user_code"].replace("-", "")
    entry = fields_of((await browser.get(PAGE)).text)
    for bent in ({**fields, "user_code": code}, {**fields, "csrf": ""}, {**fields, "csrf": entry["csrf"]}):
        assert (await browser.send(PAGE, {**bent, "decision": "allow"})).status_code == 403
    foreign = await browser.send(PAGE, {**fields, "decision": "allow"}, Origin="https://evil.example")
    assert foreign.status_code == 403
    assert await door.rows("SELECT 1 FROM device_codes WHERE account_id IS NOT NULL") == []
    signed_out = await Browser(door).send(PAGE, {**fields, "decision": "allow"})
    assert signed_out.headers["location"].startswith("/auth/pages/sign-in?continue=%2Foauth2%2Fdevice")


async def test_a_device_of_a_tenant_is_for_its_members(door: Door, tv: OAuthClient) -> None:
    await door.signed_up("bob", slug="bobs")
    browser = Browser(door)
    await browser.sign_in("bob")
    asked = await started(tv)
    page = await entered(browser, asked["user_code"])
    assert (page.status_code, "You are not a member of this tenant." in page.text) == (404, True)
    assert await error(tv, asked) == "authorization_pending"


async def test_a_device_outlives_the_browser_that_allowed_it(browser: Browser, tv: OAuthClient) -> None:
    asked, late = await started(tv, scope="jobs:read"), await started(tv, scope="jobs:read")
    for one in (asked, late):
        await answered(browser, one["user_code"])
    tokens = (await poll(tv, asked)).json()
    page = await browser.get("/oauth2/logout")
    assert (await browser.send("/oauth2/logout/confirm", fields_of(page.text))).status_code == 303
    assert (await tv.refresh(tokens["refresh_token"])).status_code == 200
    assert (await poll(tv, late)).status_code == 200


async def test_logout_all_ends_what_was_allowed_before(
    door: Door, admin: dict[str, Any], browser: Browser, tv: OAuthClient
) -> None:
    asked = await started(tv)
    await answered(browser, asked["user_code"])
    assert (await door.client.post("/auth/logout-all", headers=door.bearer(admin))).status_code == 200
    assert await error(tv, asked) == "invalid_grant"


@pytest.mark.parametrize("end", ["logout", "expired"])
@pytest.mark.parametrize("change", ["logout-all", "password"])
async def test_what_a_browser_allowed_before_it_signed_out_ends_with_the_others(
    door: Door, browser: Browser, tv: OAuthClient, change: str, end: str
) -> None:
    asked = await started(tv)
    await answered(browser, asked["user_code"])
    if end == "expired":
        await door.run("UPDATE sessions SET ended_at = now(), end_reason = 'expired'")
    else:
        page = await browser.get("/oauth2/logout")
        assert (await browser.send("/oauth2/logout/confirm", fields_of(page.text))).status_code == 303
    headers = door.bearer((await door.login("ann")).json())
    if change == "password":
        passwords = {"current_password": PASSWORD, "password": "New-course-8", "confirm_password": "New-course-8"}
        assert (await door.client.post("/auth/password", json=passwords, headers=headers)).is_success
    else:
        assert (await door.client.post("/auth/logout-all", headers=headers)).status_code == 200
    assert await error(tv, asked) == "invalid_grant"
