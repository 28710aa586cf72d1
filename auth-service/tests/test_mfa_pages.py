"""The pages of the second step of a sign-in: a code without scripts, a passkey with one script of this service."""

import json
import re
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import pytest

from .authenticator import Authenticator
from .door import Door, claims_of
from .factors import App, add_app, add_passkey, asked, verify
from .mailbox import Mailbox, link_in
from .oauth import ORIGIN, Browser, Reply, answer_of, fields_of, registered

SECOND = "/auth/pages/second-factor"


def options_in(page: Reply) -> dict[str, Any]:
    """What the page's script gives to the browser."""
    [text] = re.findall(r'data-options="([^"]*)"', page.text)
    options: dict[str, Any] = json.loads(unescape(text))
    return options


async def send_passkey(browser: Browser, path: str, page: Reply, device: Authenticator) -> Reply:
    return await browser.send(path, {**fields_of(page.text), "credential": json.dumps(device.get(options_in(page)))})


async def test_a_code_continues_a_sign_in_to_a_client(door: Door) -> None:
    admin = await door.signed_up("ann", slug="acme")
    client_app = await registered(door, admin)
    app, codes = await add_app(door, admin)
    browser = Browser(door)
    to_sign_in = await browser.get("/oauth2/authorize", client_app.query())
    page = await browser.sign_in("ann", to_sign_in.headers["location"])
    assert (page.status_code, "Confirm that it is you" in page.text, "<script" in page.text) == (200, True, False)
    assert "script-src" not in page.headers["content-security-policy"]
    assert "https://planner.example" in page.headers["content-security-policy"]  # where the form may end
    wrong = await browser.send(SECOND, {**fields_of(page.text), "code": app.wrong_code()})
    assert (wrong.status_code, "The code is not valid." in wrong.text) == (401, True)
    done = await browser.send(SECOND, {**fields_of(wrong.text), "code": app.code()})
    assert (done.status_code, done.headers["location"].startswith("/oauth2/authorize?")) == (303, True)
    answer = answer_of(await browser.allow(await browser.get(done.headers["location"])))
    claims = claims_of((await client_app.redeem(answer["code"])).json())
    assert (claims["amr"], claims["acr"]) == (["mfa", "otp", "pwd"], "aal2")
    again = await browser.send(SECOND, {**fields_of(page.text), "code": codes[0]})
    assert (again.status_code, "Sign in again" in again.text) == (401, True)


async def test_a_recovery_code_is_typed_into_the_same_field(door: Door) -> None:
    _, codes = await add_app(door, await door.signed_up("ann", slug="acme"))
    browser = Browser(door)
    page = await browser.sign_in("ann")
    done = await browser.send(SECOND, {**fields_of(page.text), "code": codes[0]})
    assert (done.status_code, done.headers["location"]) == (303, "/auth/pages/signed-in")


async def test_a_passkey_is_used_by_one_script_of_this_service(door: Door) -> None:
    device = await add_passkey(door, await door.signed_up("ann", slug="acme"))
    browser = Browser(door)
    page = await browser.sign_in("ann")
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert re.findall(r"<script[^>]*>[^<]*</script>", page.text) == [
        '<script src="/auth/pages/assets/passkeys.js" defer></script>'
    ]
    script = await browser.get("/auth/pages/assets/passkeys.js")
    assert script.headers["content-type"].startswith("text/javascript")
    device.sign_count -= 1  # a copied key
    refused = await send_passkey(browser, SECOND, page, device)
    assert refused.status_code == 401
    done = await send_passkey(browser, SECOND, refused, device)
    assert (done.status_code, done.headers["location"]) == (303, "/auth/pages/signed-in")


async def test_a_passkey_signs_in_without_the_password(door: Door) -> None:
    device = await add_passkey(door, await door.signed_up("ann", slug="acme"))
    browser = Browser(door)
    assert "/auth/pages/passkey?continue=" in (await browser.get("/auth/pages/sign-in")).text
    page = await browser.get("/auth/pages/passkey")
    malformed = await browser.send("/auth/pages/passkey", {**fields_of(page.text), "credential": "{"})
    assert malformed.status_code == 422
    done = await send_passkey(browser, "/auth/pages/passkey", page, device)
    assert (done.status_code, done.headers["location"]) == (303, "/auth/pages/signed-in")
    replayed = await send_passkey(browser, "/auth/pages/passkey", page, device)
    assert (replayed.status_code, "The passkey is not valid." in replayed.text) == (401, True)


async def test_a_mailed_link_asks_for_the_second_factor(door: Door, mailbox: Mailbox) -> None:
    app, _ = await add_app(door, await door.signed_up("ann", slug="acme"))
    await mailbox.received(1)
    await door.client.post("/auth/pages/magic-link", data={"email": "ann@example.com"}, headers=ORIGIN)
    page = await door.client.get(link_in(await mailbox.received(2)).removeprefix("http://localhost:8000"))
    fields = fields_of(page.text)
    second = await door.client.post("/auth/pages/magic-link/confirm", data=fields, headers=ORIGIN)
    assert (second.status_code, "Confirm that it is you" in second.text) == (200, True)
    fields = {**fields_of(second.text), "code": app.code()}
    done = await door.client.post(SECOND, data=fields, headers=ORIGIN)
    assert (done.status_code, done.headers["location"]) == (303, "/auth/pages/signed-in")


async def test_a_form_of_another_site_is_refused(door: Door) -> None:
    reply = await door.client.post(SECOND, data={"mfa_token": "x"}, headers={"Origin": "https://evil.example"})
    assert reply.status_code == 403


class TestRequired:
    @pytest.fixture
    def settings_values(self, settings_values: dict[str, Any]) -> dict[str, Any]:
        return settings_values | {"mfa": {"required": True}}

    async def test_a_person_without_a_factor_adds_one_on_the_page(self, door: Door) -> None:
        await door.register("ann", slug="acme")
        browser = Browser(door)
        page = await browser.sign_in("ann")
        [secret] = re.findall(r'class="secret">([A-Z2-7]+)<', page.text)
        assert f"otpauth://totp/Flotilla:ann?secret={secret}" in unescape(page.text)
        app = App(secret)
        wrong = await browser.send(SECOND, {**fields_of(page.text), "code": app.wrong_code()})
        assert wrong.status_code == 401
        done = await browser.send(SECOND, {**fields_of(wrong.text), "code": app.code()})
        assert (done.status_code, done.headers["location"]) == (303, "/auth/pages/signed-in")

    async def test_a_browser_from_before_the_rule_signs_in_again(self, door: Door) -> None:
        await door.register("ann", slug="acme")
        browser = Browser(door)
        page = await browser.sign_in("ann")
        app = App(re.findall(r'class="secret">([A-Z2-7]+)<', page.text)[0])
        await browser.send(SECOND, {**fields_of(page.text), "code": app.code()})
        challenge = await asked(door)
        signed_in = (await verify(door, challenge["mfa_token"], "totp", code=app.code())).json()
        client_app = await registered(door, signed_in)
        await door.run("UPDATE sessions SET amr = '{pwd}'")
        again = await browser.get("/oauth2/authorize", client_app.query())
        assert urlsplit(again.headers["location"]).path == "/auth/pages/sign-in"
        silent = await browser.get("/oauth2/authorize", client_app.query(prompt="none"))
        assert answer_of(silent)["error"] == "login_required"
        await door.run("DELETE FROM totp_factors")
        refused = await browser.get("/oauth2/authorize", client_app.query())
        assert answer_of(refused)["error"] == "access_denied"


async def test_a_client_asks_for_the_second_factor_by_acr(door: Door) -> None:
    admin = await door.signed_up("ann", slug="acme")
    client_app = await registered(door, admin)
    browser = Browser(door)
    await browser.sign_in("ann")
    without = answer_of(
        await browser.allow(await browser.get("/oauth2/authorize", client_app.query(acr_values="aal2")))
    )
    assert "code" in without, "a person without a second factor goes on: the client sees the level in `acr`"
    app, _ = await add_app(door, admin)
    silent = await browser.get("/oauth2/authorize", client_app.query(acr_values="aal2", prompt="none"))
    assert answer_of(silent)["error"] == "login_required"
    to_sign_in = await browser.get("/oauth2/authorize", client_app.query(acr_values="aal2"))
    assert urlsplit(to_sign_in.headers["location"]).path == "/auth/pages/sign-in"
    page = await browser.sign_in("ann", to_sign_in.headers["location"])
    done = await browser.send(SECOND, {**fields_of(page.text), "code": app.code()})
    answer = answer_of(await browser.get(done.headers["location"]))
    claims = claims_of((await client_app.redeem(answer["code"])).json())
    assert claims["acr"] == "aal2"
