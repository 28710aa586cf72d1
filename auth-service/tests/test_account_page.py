"""The account's pages, as a browser uses them: sessions, second factors, applications, keys, identities, the end."""

import json
import re
from html import unescape
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
import pytest
from sqlalchemy import text

from auth_service.account_page.service import form_purpose
from auth_service.keyring import Keyring
from auth_service.sessions import browser_cookie
from auth_service.settings import AuthSettings
from shared.testing.fakes import FakeUsers

from .authenticator import Authenticator
from .door import PASSWORD, Door, claims_of
from .factors import App, add_app, asked, verify
from .issuer import Browser as UpstreamBrowser
from .issuer import Issuer
from .issuer import registered as registered_issuer
from .mailbox import Mailbox, link_in, text_of
from .oauth import CALLBACK, ORIGIN, registered

ACCOUNT = "/oauth2/account"
SIGN_IN = "/auth/pages/sign-in"

Reply = httpx2.Response


class Person:
    """A person at a browser: it keeps its cookies, opens pages and sends the forms that they show."""

    def __init__(self, door: Door, http: httpx2.AsyncClient) -> None:
        self.door, self.http = door, http

    async def open(self, path: str = "") -> Reply:
        return await self.http.get(path if path.startswith("/") else f"{ACCOUNT}{path and '/'}{path}")

    async def sign_in(self, username: str = "ann", continued: str = "") -> Reply:
        fields = {"username": username, "password": PASSWORD, "continue": continued}
        return await self.http.post(SIGN_IN, data=fields, headers=ORIGIN)

    async def send(self, page: Reply, action: str, **fields: str) -> Reply:
        """Send the page's form for `action`: its hidden fields, and those that the person fills in."""
        path = f"{ACCOUNT}/{action}"
        return await self.http.post(path, data=hidden(page, path) | fields, headers=ORIGIN)

    async def confirm(self, path: str, **proof: str) -> Reply:
        """Open the page, confirm, and be back at it."""
        to_confirm = await self.open(path)
        assert to_confirm.status_code == 303, to_confirm.text
        back = await self.send(await self.open(to_confirm.headers["location"]), "confirm", **proof)
        assert (back.status_code, back.headers["location"]) == (303, f"{ACCOUNT}/{path}"), back.text
        return await self.open(path)

    async def an_hour_passes(self) -> None:
        await self.door.run("UPDATE sessions SET auth_time = auth_time - interval '1 hour'")


def hidden(page: Reply, path: str) -> dict[str, str]:
    """The hidden fields of the page's form for the path."""
    forms = re.findall(rf'<form method="post" action="{re.escape(path)}"(.*?)</form>', page.text, re.DOTALL)
    assert forms, page.text
    pairs = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', forms[0])
    return {name: unescape(value) for name, value in pairs}


def code_in(page: Reply) -> App:
    """The authenticator app that has typed the page's secret."""
    [secret] = re.findall(r'class="secret">([A-Z2-7]+)<', page.text)
    return App(secret)


def codes_in(page: Reply) -> list[str]:
    return re.findall(r"<code>([a-z2-7-]+)</code>", page.text)


def options_in(page: Reply) -> dict[str, Any]:
    """What the page's script gives to the browser."""
    [given] = re.findall(r'data-options="([^"]*)"', page.text)
    options: dict[str, Any] = json.loads(unescape(given))
    return options


def said(reply: Reply) -> str:
    """What the account's first page will say."""
    assert reply.status_code == 303, reply.text
    assert urlsplit(reply.headers["location"]).path == ACCOUNT
    return urlsplit(reply.headers["location"]).query.removeprefix("done=")


@pytest.fixture
async def ann(door: Door, browser: UpstreamBrowser) -> Person:
    """Ann, who has an account and whose browser is signed in."""
    await door.register("ann", slug="annsplace")
    person = Person(door, browser.http)
    assert (await person.sign_in()).status_code == 303
    return person


class TestAccess:
    @pytest.mark.parametrize("path", ["", "factors/app", "password", "confirm"])
    async def test_who_is_not_signed_in_signs_in_and_comes_back(self, door: Door, ann: Person, path: str) -> None:
        ann.http.cookies.clear()
        reply = await ann.open(path)
        url = f"{ACCOUNT}{path and '/'}{path}"
        assert (reply.status_code, reply.headers["location"]) == (303, f"{SIGN_IN}?continue={quote(url, safe='')}")
        back = await ann.sign_in(continued=url)
        assert (back.status_code, back.headers["location"]) == (303, url)
        assert (await ann.open(path)).status_code == 200

    @pytest.mark.parametrize(
        "action",
        [
            "sessions/end-others",
            "sessions/0192f0c1-2b3c-7d4e-8f50-617283940a1b/end",
            "consents/0192f0c1-2b3c-7d4e-8f50-617283940a1b/withdraw",
            "password",
            "email",
            "confirm",
            "factors/app",
            "factors/app/confirm",
            "factors/passkey",
            "factors/recovery-codes",
            "factors/0192f0c1-2b3c-7d4e-8f50-617283940a1b/remove",
            "api-keys/new",
            "api-keys/0192f0c1-2b3c-7d4e-8f50-617283940a1b/revoke",
            "deactivate",
            "identities/link/0192f0c1-2b3c-7d4e-8f50-617283940a1b",
            "identities/0192f0c1-2b3c-7d4e-8f50-617283940a1b/unlink",
        ],
    )
    async def test_a_form_needs_its_own_token_this_site_and_a_session(self, ann: Person, action: str) -> None:
        path = f"{ACCOUNT}/{action}"
        other = "password" if action != "password" else "factors/app"
        token_of_other = hidden(await ann.open(other), f"{ACCOUNT}/{other}")["csrf"]
        events = await ann.door.rows("SELECT count(*) FROM security_events")
        for token in ("", token_of_other, "é"):
            refused = await ann.http.post(path, data={"csrf": token}, headers=ORIGIN)
            assert (refused.status_code, "The form was not accepted" in refused.text) == (403, True)
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert (await ann.http.post(path, data={"csrf": token_of_other}, headers=headers)).status_code == 403
        ann.http.cookies.clear()
        reply = await ann.http.post(path, data={"csrf": token_of_other}, headers=ORIGIN)
        to_sign_in = f"{SIGN_IN}?continue={quote(ACCOUNT, safe='')}"
        assert (reply.status_code, reply.headers["location"]) == (303, to_sign_in)
        assert await ann.door.rows("SELECT count(*) FROM security_events") == events

    async def test_the_pages_are_framed_by_no_site_and_run_no_script(self, ann: Person) -> None:
        paths = ("", "password", "factors/app", "confirm", "factors/recovery-codes", "api-keys/new", "deactivate")
        for path in paths:
            page = await ann.open(path)
            policy = page.headers["content-security-policy"]
            assert (page.status_code, "<script" in page.text, "style=" in page.text) == (200, False, False)
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "script-src" not in policy
            assert page.headers["cache-control"] == "no-store"

    async def test_what_belongs_to_another_person_is_out_of_reach(
        self, door: Door, ann: Person, settings: AuthSettings
    ) -> None:
        [mine] = await door.rows("SELECT id FROM sessions")
        bob = await door.signed_up("bob", slug="bobsplace")
        await add_app(door, bob)
        [factor] = await door.rows("SELECT id FROM totp_factors")
        assert bob["session_id"] not in (await ann.open()).text
        assert (await ann.open(f"factors/{factor['id']}/remove")).status_code == 404
        keyring = Keyring.load(settings.keys)
        for action in (f"sessions/{bob['session_id']}/end", f"factors/{factor['id']}/remove"):
            path = f"{ACCOUNT}/{action}"
            token = browser_cookie.form_token(mine["id"], form_purpose(path), keyring)
            reply = await ann.http.post(path, data={"csrf": token}, headers=ORIGIN)
            assert reply.status_code in (303, 404)
        assert (await door.client.get("/auth/me", headers=door.bearer(bob))).status_code == 200
        assert len(await door.rows("SELECT 1 FROM totp_factors")) == 1

    async def test_an_ended_session_and_a_suspended_membership_open_no_page(
        self, door: Door, users: FakeUsers, ann: Person
    ) -> None:
        await door.run("UPDATE sessions SET ended_at = now()")
        assert (await ann.open()).status_code == 303
        await ann.sign_in()
        async with door.database.transaction(role="fleet") as db:
            await db.execute(text("UPDATE memberships SET status = 'suspended'"))
        assert (await ann.open()).headers["location"].startswith(SIGN_IN)

    async def test_a_session_of_a_tenants_own_issuer_changes_no_account(self, ann: Person) -> None:
        await ann.door.run("UPDATE sessions SET confined = true")
        for path in ("", "factors/app", "api-keys/new", "deactivate"):
            page = await ann.open(path)
            assert (page.status_code, "Sign in to the account itself" in page.text) == (403, True)

    async def test_an_operator_who_acts_as_the_person_changes_no_account(self, ann: Person) -> None:
        await ann.door.run("UPDATE sessions SET impersonator_id = gen_random_uuid(), impersonation_reason = 'x'")
        for path in ("", "password", "api-keys/new", "deactivate"):
            page = await ann.open(path)
            assert (page.status_code, "Not while an operator acts as you." in page.text) == (403, True)

    async def test_the_signed_in_page_leads_to_the_account(self, ann: Person) -> None:
        assert f'href="{ACCOUNT}"' in (await ann.open("/auth/pages/signed-in")).text

    async def test_it_is_in_the_browsers_language(self, ann: Person) -> None:
        page = await ann.http.get(ACCOUNT, headers={"Accept-Language": "es"})
        assert ('<html lang="es">' in page.text, "Sesiones abiertas" in page.text) == (True, True)


class TestSessions:
    async def test_they_are_listed_and_ended_one_by_one(self, door: Door, ann: Person) -> None:
        other = (await door.login("ann", headers={"User-Agent": "Mozilla/5.0 (X11; Linux) Firefox/140.0"})).json()
        page = await ann.open()
        assert "Firefox on Linux" in page.text
        assert page.text.count("This browser") == 1
        ended = await ann.send(page, f"sessions/{other['session_id']}/end")
        assert said(ended) == "session_ended"
        page = await ann.open(ended.headers["location"])
        assert ("The session was ended." in page.text, "Firefox on Linux" in page.text) == (True, False)
        assert (await door.refresh(other["refresh_token"])).status_code == 401
        assert "End all other sessions" not in page.text  # there is none

    async def test_one_in_which_an_operator_acts_says_who_and_why(
        self, door: Door, ann: Person, root: dict[str, str]
    ) -> None:
        person = claims_of((await door.login("ann")).json())
        asked = {"user_id": person["sub"], "tenant": person["tenant"], "reason": "Ticket <4711>"}
        acting = (await door.client.post("/auth/impersonate", json=asked, headers=root)).json()
        page = await ann.open()
        assert page.text.count("root, an operator, acts as you here until") == 1
        assert "Ticket &lt;4711&gt;" in page.text
        assert said(await ann.send(page, f"sessions/{acting['session_id']}/end")) == "session_ended"
        assert (await door.client.get("/auth/me", headers=door.bearer(acting))).status_code == 401

    async def test_all_others_end_at_once(self, door: Door, ann: Person) -> None:
        others = [(await door.login("ann")).json() for _ in range(3)]
        assert said(await ann.send(await ann.open(), "sessions/end-others")) == "sessions_ended"
        for one in others:
            assert (await door.refresh(one["refresh_token"])).status_code == 401
        assert (await ann.open()).status_code == 200

    async def test_fifty_are_shown(self, door: Door, ann: Person) -> None:
        await door.run(
            "INSERT INTO sessions (id, account_id, tenant_id, client_id) "
            "SELECT gen_random_uuid(), account_id, tenant_id, client_id FROM sessions, generate_series(1, 60)"
        )
        page = (await ann.open()).text
        assert ("The newest 50 are shown." in page, page.count('/end"')) == (True, 50)


class TestFactors:
    async def test_an_app_is_added_by_a_qr_code_or_its_text(self, ann: Person, mailbox: Mailbox) -> None:
        page = await ann.send(await ann.open("factors/app"), "factors/app", name="Ann's <b>phone</b>")
        assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
        assert re.search(r'<div class="qr" role="img" aria-label="QR code of the key"><svg [^>]*><path', page.text)
        app = code_in(page)
        assert f"otpauth://totp/Flotilla:ann?secret={app.secret}" in unescape(page.text)
        wrong = await ann.send(page, "factors/app/confirm", code=app.wrong_code())
        assert (wrong.status_code, app.secret in wrong.text) == (403, False)
        shown = await ann.send(wrong, "factors/app/confirm", code=app.code())
        codes = codes_in(shown)
        assert (shown.status_code, len(codes), shown.headers["cache-control"]) == (200, 10, "no-store")
        again = await ann.send(wrong, "factors/app/confirm", code=app.code())
        assert (again.status_code, codes_in(again)) == (404, [])
        overview = (await ann.open()).text
        assert ("Ann&#39;s &lt;b&gt;phone" in overview, "Codes left: 10." in overview) == (True, True)
        assert "was added on" in text_of(await mailbox.received(1))
        challenge = await asked(ann.door)
        assert (await verify(ann.door, challenge["mfa_token"], "recovery_code", code=codes[0])).status_code == 200

    async def test_a_passkey_is_added_by_one_script_of_this_service(self, ann: Person) -> None:
        page = await ann.open("factors/passkey")
        assert "script-src 'self';" in page.headers["content-security-policy"]
        assert re.findall(r"<script[^>]*>[^<]*</script>", page.text) == [
            '<script src="/auth/pages/assets/passkeys.js" defer></script>'
        ]
        refused = await ann.send(page, "factors/passkey", name="Laptop", credential=json.dumps({"response": {}}))
        assert (refused.status_code, "It could not be confirmed." in refused.text) == (403, True)
        device = Authenticator()
        created = json.dumps(device.create(options_in(refused)))
        shown = await ann.send(refused, "factors/passkey", name="Laptop", credential=created)
        assert len(codes_in(shown)) == 10
        assert "Laptop" in (await ann.open()).text
        malformed = await ann.send(await ann.open("factors/passkey"), "factors/passkey", name="x", credential="{")
        assert malformed.status_code == 422

    async def test_each_change_asks_for_the_password_again_after_a_while(self, ann: Person) -> None:
        await ann.an_hour_passes()
        to_confirm = await ann.open("factors/app")
        assert to_confirm.headers["location"] == f"{ACCOUNT}/confirm?then={ACCOUNT}/factors/app"
        page = await ann.open(to_confirm.headers["location"])
        wrong = await ann.send(page, "confirm", password="Wrong-word-1")
        assert (wrong.status_code, "The password is wrong." in wrong.text) == (403, True)
        page = await ann.confirm("factors/app", password=PASSWORD)
        assert "Such an app shows" in page.text
        late = await ann.open("factors/app")
        await ann.an_hour_passes()
        refused = await ann.send(late, "factors/app", name="Phone")
        assert refused.headers["location"] == f"{ACCOUNT}/confirm?then={ACCOUNT}"
        assert await ann.door.rows("SELECT 1 FROM totp_factors") == []

    @pytest.mark.parametrize("then", ["https://evil.example", "//evil.example", "/oauth2/authorize", f"{ACCOUNT}/../x"])
    async def test_confirming_leads_to_no_other_site(self, ann: Person, then: str) -> None:
        page = await ann.open(f"confirm?then={quote(then, safe='')}")
        assert hidden(page, f"{ACCOUNT}/confirm")["then"] == ACCOUNT
        back = await ann.send(page, "confirm", then=then, password=PASSWORD)
        assert (back.status_code, back.headers["location"]) == (303, ACCOUNT)

    async def test_a_person_with_a_factor_confirms_by_it(self, door: Door, ann: Person) -> None:
        app, codes = await add_app(door, (await door.login("ann")).json())
        [factor] = await door.rows("SELECT id FROM totp_factors")
        path = f"factors/{factor['id']}/remove"
        asked_for = await ann.open((await ann.open(path)).headers["location"])  # signed in just now, by password alone
        assert ('name="code"' in asked_for.text, 'name="password"' in asked_for.text) == (True, False)
        wrong = await ann.send(asked_for, "confirm", code=app.wrong_code())
        assert wrong.status_code == 401
        by_password = await ann.send(asked_for, "confirm", password=PASSWORD)
        assert by_password.status_code == 403
        page = await ann.confirm(path, code=app.code())
        assert "Remove Phone?" in page.text
        codes_page = await ann.send(await ann.open("factors/recovery-codes"), "factors/recovery-codes")
        assert (len(codes_in(codes_page)), set(codes_in(codes_page)) & set(codes)) == (10, set())
        assert said(await ann.send(page, path)) == "factor_removed"
        assert await door.rows("SELECT 1 FROM recovery_codes") == []
        assert (await ann.send(page, path)).status_code == 404

    async def test_a_passkey_confirms(self, door: Door, ann: Person) -> None:
        page = await ann.open("factors/passkey")
        device = Authenticator()
        created = json.dumps(device.create(options_in(page)))
        await ann.send(page, "factors/passkey", name="Laptop", credential=created)
        await ann.an_hour_passes()
        to_confirm = await ann.open("factors/recovery-codes")
        page = await ann.open(to_confirm.headers["location"])
        back = await ann.send(page, "confirm", credential=json.dumps(device.get(options_in(page))))
        assert (back.status_code, back.headers["location"]) == (303, f"{ACCOUNT}/factors/recovery-codes")

    async def test_recovery_codes_replace_a_factor_that_one_has(self, ann: Person) -> None:
        reply = await ann.send(await ann.open("factors/recovery-codes"), "factors/recovery-codes")
        assert (reply.status_code, "You have no second factor." in reply.text) == (409, True)

    async def test_an_eleventh_factor_is_refused(self, ann: Person) -> None:
        await ann.door.run(
            "INSERT INTO passkeys (id, account_id, name, credential_id, public_key, sign_count, transports, "
            "synchronized) SELECT gen_random_uuid(), id, 'Key', decode(md5(n::text), 'hex'), '', 0, '{}', false "
            "FROM accounts, generate_series(1, 10) n WHERE username = 'ann'"
        )
        await ann.door.run("UPDATE sessions SET amr = '{mfa,hwk,user}'")
        reply = await ann.send(await ann.open("factors/app"), "factors/app", name="Phone")
        assert (reply.status_code, "You have ten second factors." in reply.text) == (409, True)


class TestApplications:
    async def test_a_consent_is_withdrawn(self, door: Door, ann: Person) -> None:
        client = await registered(door, (await door.login("ann")).json())
        asked_for = await ann.http.get("/oauth2/authorize", params=client.query(scope="openid jobs:read"))
        decision = hidden(asked_for, "/oauth2/consent") | {"decision": "allow"}
        allowed = await ann.http.post("/oauth2/consent", data=decision, headers=ORIGIN)
        assert allowed.headers["location"].startswith(CALLBACK)
        [code] = re.findall(r"[?&]code=([^&]+)", allowed.headers["location"])
        tokens = (await client.redeem(code)).json()
        page = await ann.open()
        assert page.text.count("<strong>Planner</strong>") == 2  # the application, and its session
        assert "Know who you are: the id of your account" in page.text
        [consent] = await door.rows("SELECT id FROM oauth_consents")
        assert said(await ann.send(page, f"consents/{consent['id']}/withdraw")) == "consent_withdrawn"
        assert (await client.refresh(tokens["refresh_token"])).status_code == 400
        assert "<strong>Planner</strong>" not in (await ann.open()).text
        assert said(await ann.send(page, f"consents/{consent['id']}/withdraw")) == "consent_withdrawn"


class TestKeys:
    async def created(self, ann: Person, **fields: str) -> Reply:
        form = {"name": "Nightly <b>import", "days": "90", "scope:files:read": "on", **fields}
        return await ann.send(await ann.open("api-keys/new"), "api-keys/new", **form)

    async def redeemed(self, door: Door, key: str) -> Reply:
        headers = door.people.service("gateway")
        return await door.client.post("/internal/api-keys/redeem", json={"key": key}, headers=headers)

    async def test_one_is_shown_once_listed_and_revoked(self, door: Door, ann: Person, mailbox: Mailbox) -> None:
        form = (await ann.open("api-keys/new")).text
        assert ("Upload files" in form, 'name="scope:api-keys:write"' in form, "checked" in form) == (
            True,
            False,
            False,
        )
        shown = await self.created(ann)
        assert (shown.status_code, shown.headers["cache-control"], "location" in shown.headers) == (
            200,
            "no-store",
            False,
        )
        [key] = re.findall(r'class="secret">(flk_[0-9A-Za-z_]+)<', shown.text)
        claims = (await self.redeemed(door, key)).json()["claims"]
        assert (claims["scope"], claims["tenant_slug"]) == ("files:read", "annsplace")
        [stored] = await door.rows("SELECT id, prefix, expires_at - created_at AS valid, created_at FROM api_keys")
        assert stored["valid"].total_seconds() == pytest.approx(90 * 86_400, abs=60)
        page = await ann.open()
        assert (key in page.text, f"{stored['prefix']}…" in page.text) == (False, True)
        assert "<strong>Nightly &lt;b&gt;import</strong>" in page.text
        assert ("<code>files:read</code>" in page.text, "last used" in page.text) == (True, True)
        assert 'the API key "Nightly' in text_of(await mailbox.received(1))
        path = f"api-keys/{stored['id']}/revoke"
        asked_for = await ann.open(path)
        assert f"({stored['prefix']}…)" in asked_for.text
        assert said(await ann.send(asked_for, path)) == "key_revoked"
        assert (await self.redeemed(door, key)).status_code == 401
        assert said(await ann.send(asked_for, path)) == "key_revoked"
        assert (await ann.open(path)).status_code == 404
        assert "You have none in" in (await ann.open()).text

    async def test_it_is_valid_as_long_as_chosen(self, door: Door, ann: Person) -> None:
        await self.created(ann, days="")
        assert "does not expire" in (await ann.open()).text
        for days in ("0", "100000", "x", "-1"):
            assert (await self.created(ann, days=days)).status_code == 422, days
        await door.run("UPDATE api_keys SET expires_at = now()")
        assert "Expired</strong>" in (await ann.open()).text

    async def test_all_scopes_of_the_roles_can_be_chosen_and_no_other(self, door: Door, ann: Person) -> None:
        page = (await ann.open("api-keys/new")).text
        offered = dict.fromkeys(re.findall(r'type="checkbox" name="(scope:[^"]+)"', page), "on")
        assert len(offered) > 20
        assert (await self.created(ann, **offered)).status_code == 200
        refused = await self.created(ann, **{"scope:system:write": "on"})
        assert (refused.status_code, "Your roles do not grant all of these" in refused.text) == (422, True)
        assert 'name="scope:files:read" checked' in refused.text
        empty = await self.created(ann, name=" ")
        assert (empty.status_code, "A field is empty." in empty.text) == (422, True)
        form = await ann.open("api-keys/new")
        none = await ann.send(form, "api-keys/new", name="Import", days="7")
        assert (none.status_code, "Choose at least one permission." in none.text) == (422, True)
        assert ('value="Import"' in none.text, '<option value="7" selected>' in none.text) == (True, True)
        assert len(await door.rows("SELECT 1 FROM api_keys")) == 1

    async def test_creating_one_needs_a_confirmation_and_revoking_does_not(self, door: Door, ann: Person) -> None:
        await ann.an_hour_passes()
        page = await ann.confirm("api-keys/new", password=PASSWORD)
        await ann.an_hour_passes()
        late = await ann.send(page, "api-keys/new", name="Import", **{"scope:files:read": "on"})
        assert late.headers["location"] == f"{ACCOUNT}/confirm?then={ACCOUNT}"
        assert await door.rows("SELECT 1 FROM api_keys") == []
        page = await ann.confirm("api-keys/new", password=PASSWORD)
        await ann.send(page, "api-keys/new", name="Import", **{"scope:files:read": "on"})
        await ann.an_hour_passes()
        [key] = await door.rows("SELECT id FROM api_keys")
        path = f"api-keys/{key['id']}/revoke"
        assert said(await ann.send(await ann.open(path), path)) == "key_revoked"

    async def test_a_fifty_first_is_refused(self, door: Door, ann: Person) -> None:
        await self.created(ann)
        await door.run(
            "INSERT INTO api_keys (id, digest, prefix, name, account_id, tenant_id, scopes) SELECT gen_random_uuid(), "
            "decode(md5(n::text), 'hex'), prefix, name, account_id, tenant_id, scopes "
            "FROM api_keys, generate_series(2, 50) n"
        )
        refused = await self.created(ann)
        assert (refused.status_code, "You have 50 API keys in this tenant." in refused.text) == (409, True)
        assert (await ann.open()).text.count('/revoke"') == 50

    async def test_a_session_without_their_scopes_neither_sees_nor_makes_one(self, door: Door, ann: Person) -> None:
        page = await ann.open("api-keys/new")
        await self.created(ann)
        [key] = await door.rows("SELECT id FROM api_keys")
        path = f"api-keys/{key['id']}/revoke"
        revocation = await ann.open(path)
        await door.run("UPDATE sessions SET limited_to = '{api-keys:read,files:read}'")
        overview = (await ann.open()).text
        assert ("Nightly" in overview, "/api-keys/" in overview) == (True, False)
        refused = [
            await ann.open("api-keys/new"),
            await ann.open(path),
            await ann.send(page, "api-keys/new", name="Import", **{"scope:files:read": "on"}),
            await ann.send(revocation, path),
        ]
        for reply in refused:
            assert (reply.status_code, "Your roles in this tenant do not allow this." in reply.text) == (403, True)
        assert len(await door.rows("SELECT 1 FROM api_keys")) == 1
        await door.run("UPDATE sessions SET limited_to = '{files:read}'")
        assert "API keys" not in (await ann.open()).text

    async def test_keys_of_other_people_and_tenants_are_out_of_reach(self, door: Door, ann: Person) -> None:
        await self.created(ann)
        await door.run("UPDATE api_keys SET tenant_id = gen_random_uuid()")
        [key] = await door.rows("SELECT id FROM api_keys")
        assert (await ann.open(f"api-keys/{key['id']}/revoke")).status_code == 404
        assert "Nightly" not in (await ann.open()).text


class TestDeactivation:
    async def test_it_says_what_follows_and_ends_everything(self, door: Door, ann: Person, mailbox: Mailbox) -> None:
        await door.run("UPDATE sessions SET auth_time = auth_time - interval '1 hour'")
        assert f'href="{ACCOUNT}/deactivate"' in (await ann.open()).text
        other = (await door.login("ann")).json()
        page = await ann.confirm("deactivate", password=PASSWORD)
        for text_shown in ("All your sessions end", "All your API keys are revoked", "mailed to ann@example.com"):
            assert text_shown in page.text
        reply = await ann.send(page, "deactivate")
        assert (reply.status_code, reply.headers["location"]) == (303, "/auth/pages/deactivated")
        assert "flotilla_browser=" in reply.headers["set-cookie"]
        shown = await ann.open(reply.headers["location"])
        assert 'href="/auth/pages/reactivate"' in shown.text
        assert (await door.client.get("/auth/me", headers=door.bearer(other))).status_code == 401
        assert (await ann.open()).headers["location"].startswith(SIGN_IN)
        assert "reactivate" in link_in(await mailbox.received(1))
        refused = await ann.sign_in()
        assert (refused.status_code, "The account is deactivated." in refused.text) == (403, True)

    async def test_a_person_with_a_factor_confirms_by_it_first(self, door: Door, ann: Person) -> None:
        app, _ = await add_app(door, (await door.login("ann")).json())
        page = await ann.confirm("deactivate", code=app.code())
        assert (await ann.send(page, "deactivate")).status_code == 303

    async def test_without_an_address_it_warns(self, door: Door, ann: Person) -> None:
        await door.run("UPDATE accounts SET email = NULL")
        page = (await ann.open("deactivate")).text
        assert ("Add an address first." in page, "mailed to" in page) == (True, False)


class TestIdentities:
    async def test_one_is_linked_and_unlinked_after_a_confirmation(
        self, door: Door, root: dict[str, str], issuer: Issuer, ann: Person, mailbox: Mailbox
    ) -> None:
        provider = await registered_issuer(door, root, issuer.url, fleet_wide=True)
        await ann.an_hour_passes()
        path = f"identities/link/{provider['id']}"
        assert f"{ACCOUNT}/{path}" in (await ann.open()).text
        page = await ann.confirm(path, password=PASSWORD)
        assert f"form-action 'self' {issuer.url};" in page.headers["content-security-policy"]
        leaving = await ann.send(page, path)
        assert leaving.headers["location"].startswith(f"{issuer.url}/authorize?")
        answer = issuer.sign_in(leaving.headers["location"], "sub-1", email="ann@corp.example")
        back = await ann.http.get(f"/auth/upstream/{provider['id']}/callback", params=answer)
        assert said(back) == "identity_linked"
        page = await ann.open(back.headers["location"])
        assert ("The sign-in was linked." in page.text, "ann@corp.example" in page.text) == (True, True)
        [identity] = await door.rows("SELECT id FROM identities")
        path = f"identities/{identity['id']}/unlink"
        await ann.an_hour_passes()
        page = await ann.confirm(path, password=PASSWORD)
        assert said(await ann.send(page, path)) == "identity_unlinked"
        assert (await ann.send(page, path)).status_code == 404
        assert (await ann.open(path)).status_code == 404
        await mailbox.received(2)
        assert ["linked" in text_of(mail) for mail in mailbox.mails] == [True, True]

    async def test_the_last_way_to_sign_in_stays(
        self, door: Door, root: dict[str, str], issuer: Issuer, ann: Person
    ) -> None:
        provider = await registered_issuer(door, root, issuer.url, fleet_wide=True)
        path = f"identities/link/{provider['id']}"
        leaving = await ann.send(await ann.open(path), path)
        answer = issuer.sign_in(leaving.headers["location"], "sub-1")
        await ann.http.get(f"/auth/upstream/{provider['id']}/callback", params=answer)
        await door.run("UPDATE accounts SET password_hash = '' WHERE username = 'ann'")
        [identity] = await door.rows("SELECT id FROM identities")
        path = f"identities/{identity['id']}/unlink"
        reply = await ann.send(await ann.open(path), path)
        assert (reply.status_code, "the only way to sign in" in reply.text) == (409, True)
        assert "no password yet" in (await ann.open("password")).text
        await ann.an_hour_passes()
        confirm = await ann.open((await ann.open(path)).headers["location"])
        assert ("<form" in confirm.text, "Sign in again" in confirm.text) == (False, True)

    async def test_an_issuer_that_does_not_answer_is_reported(
        self, door: Door, root: dict[str, str], issuer: Issuer, ann: Person
    ) -> None:
        provider = await registered_issuer(door, root, issuer.url, fleet_wide=True)
        await door.run("UPDATE identity_providers SET issuer = 'http://127.0.0.1:1'")
        page = await ann.open(f"identities/link/{provider['id']}")
        assert (page.status_code, "Nothing was changed." in page.text) == (502, True)
        unknown = await ann.open("identities/link/0192f0c1-2b3c-7d4e-8f50-617283940a1b")
        assert unknown.status_code == 404


class TestEmail:
    async def test_it_is_replaced_once_its_link_is_opened(self, door: Door, ann: Person, mailbox: Mailbox) -> None:
        page = await ann.open("email")
        wrong = await ann.send(page, "email", email="new@example.com", password="Wrong-word-1")
        assert wrong.status_code == 401
        assert said(await ann.send(page, "email", email="new@example.com", password=PASSWORD)) == "verification_sent"
        link = link_in(await mailbox.received(1)).removeprefix("http://localhost:8000")
        shown = await ann.open(link)
        fields = hidden(shown, "/auth/pages/verify-email")
        await ann.http.post("/auth/pages/verify-email", data=fields, headers=ORIGIN)
        assert ">new@example.com<" in (await ann.open()).text

    async def test_a_person_with_a_factor_confirms_by_it_first(self, door: Door, ann: Person) -> None:
        app, _ = await add_app(door, (await door.login("ann")).json())
        page = await ann.confirm("email", code=app.code())
        assert said(await ann.send(page, "email", email="new@example.com", password=PASSWORD)) == "verification_sent"


class TestPassword:
    async def test_it_is_changed_and_the_other_sessions_end(self, door: Door, ann: Person) -> None:
        other = (await door.login("ann")).json()
        await ann.an_hour_passes()  # the current password is asked for: that is enough without a second factor
        page = await ann.open("password")
        new = {"password": "Other-word-8", "confirm_password": "Other-word-8"}
        wrong = await ann.send(page, "password", current_password="Wrong-word-1", **new)
        assert (wrong.status_code, "The current password is wrong." in wrong.text) == (403, True)
        weak = await ann.send(page, "password", current_password=PASSWORD, password="x", confirm_password="y")
        assert (weak.status_code, "The password is too short." in weak.text) == (422, True)
        assert said(await ann.send(page, "password", current_password=PASSWORD, **new)) == "password_changed"
        assert (await door.refresh(other["refresh_token"])).status_code == 401
        assert (await door.login("ann", "Other-word-8")).status_code == 200
        assert (await ann.open()).status_code == 200

    async def test_a_person_with_a_factor_confirms_by_it_first(self, door: Door, ann: Person) -> None:
        app, _ = await add_app(door, (await door.login("ann")).json())
        page = await ann.confirm("password", code=app.code())
        new = {"password": "Other-word-8", "confirm_password": "Other-word-8"}
        assert said(await ann.send(page, "password", current_password=PASSWORD, **new)) == "password_changed"
