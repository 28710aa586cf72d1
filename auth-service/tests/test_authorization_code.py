"""Sign-in to an OAuth client: the authorization endpoint, its pages, and the code that a client redeems."""

import asyncio
import re
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest

from shared.testing.fakes import FakeUsers

from .door import Door, claims_of, problem
from .oauth import CALLBACK, ISSUER, Browser, OAuthClient, answer_of, code_for, fields_of, pkce, registered


@pytest.fixture
async def admin(door: Door) -> dict[str, Any]:
    """Ann, the admin of a tenant."""
    return await door.signed_up("ann", slug="acme")


@pytest.fixture
async def client_app(door: Door, admin: dict[str, Any]) -> OAuthClient:
    return await registered(door, admin)


@pytest.fixture
async def browser(door: Door, admin: dict[str, Any]) -> Browser:
    """Ann's browser, signed in."""
    found = Browser(door)
    assert (await found.sign_in("ann")).status_code == 303
    return found


async def test_a_person_signs_in_to_a_client(door: Door, client_app: OAuthClient) -> None:
    browser = Browser(door)
    to_sign_in = await browser.get("/oauth2/authorize", client_app.query())
    assert (to_sign_in.status_code, urlsplit(to_sign_in.headers["location"]).path) == (303, "/auth/pages/sign-in")
    signed_in = await browser.sign_in("ann", to_sign_in.headers["location"])
    assert signed_in.headers["location"].startswith("/oauth2/authorize?")
    consent = await browser.get(signed_in.headers["location"])
    assert (consent.status_code, "Allow Planner?" in consent.text) == (200, True)
    answer = answer_of(await browser.allow(consent))
    assert (answer["state"], answer["iss"]) == ("s-1", ISSUER)
    reply = await client_app.redeem(answer["code"])
    assert (reply.status_code, reply.headers["cache-control"]) == (200, "no-store")
    tokens = reply.json()
    assert (tokens["token_type"], tokens["scope"]) == ("Bearer", "jobs:read openid")
    claims = claims_of(tokens)
    assert (claims["client_id"], claims["aud"], claims["tenant_slug"]) == (client_app.id, ISSUER, "acme")
    keys = jwt.PyJWKSet.from_dict((await door.client.get("/oauth2/jwks.json")).json())
    header = jwt.get_unverified_header(tokens["id_token"])
    identity = jwt.decode(tokens["id_token"], keys[header["kid"]].key, ["RS256"], audience=client_app.id, issuer=ISSUER)
    assert (identity["sub"], identity["nonce"], identity["amr"]) == (claims["sub"], "n-1", ["pwd"])
    assert "email" not in identity
    about = await door.client.get("/oauth2/userinfo", headers=door.bearer(tokens))
    assert about.json() == {"sub": claims["sub"]}


async def test_userinfo_has_what_the_scopes_reveal(door: Door, browser: Browser, client_app: OAuthClient) -> None:
    code = await code_for(browser, client_app, scope="openid profile email")
    tokens = (await client_app.redeem(code)).json()
    about = (await door.client.get("/oauth2/userinfo", headers=door.bearer(tokens))).json()
    assert (about["preferred_username"], about["email"], about["email_verified"]) == ("ann", "ann@example.com", True)
    plain = (await door.login("ann")).json()
    assert problem(await door.client.get("/oauth2/userinfo", headers=door.bearer(plain))) == (403, "insufficient_scope")


async def test_a_consent_is_remembered_listed_and_withdrawn(
    door: Door, admin: dict[str, Any], browser: Browser, client_app: OAuthClient
) -> None:
    tokens = (await client_app.redeem(await code_for(browser, client_app))).json()
    again = await browser.get("/oauth2/authorize", client_app.query())
    assert "code" in answer_of(again)
    more = await browser.get("/oauth2/authorize", client_app.query(scope="openid jobs:read chat:read"))
    assert more.status_code == 200
    asked = await browser.get("/oauth2/authorize", client_app.query(prompt="consent"))
    assert asked.status_code == 200
    listed = (await door.client.get("/oauth2/consents", headers=door.bearer(admin))).json()["items"]
    assert [(one["client_name"], one["scope"]) for one in listed] == [("Planner", "jobs:read openid")]
    gone = await door.client.delete(f"/oauth2/consents/{listed[0]['id']}", headers=door.bearer(admin))
    assert gone.status_code == 204
    assert (await client_app.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await browser.get("/oauth2/authorize", client_app.query())).status_code == 200


async def test_the_consent_page_says_in_plain_words_what_is_asked(browser: Browser, client_app: OAuthClient) -> None:
    page = await browser.get("/oauth2/authorize", client_app.query())
    assert "See your jobs, their progress and their results" in page.text
    assert "caller" not in page.text
    german = await browser.get("/oauth2/authorize", client_app.query(), **{"Accept-Language": "de"})
    assert "Ihre Aufträge, deren Fortschritt und Ergebnisse sehen" in german.text


async def test_the_sign_in_page_is_filled_in_by_the_clients_hint(door: Door, client_app: OAuthClient) -> None:
    async def page(hint: str) -> str:
        browser = Browser(door)
        to_sign_in = await browser.get("/oauth2/authorize", client_app.query(login_hint=hint))
        return (await browser.get(to_sign_in.headers["location"])).text

    for hint in ("ann", "nobody@example.com"):
        assert f'name="username" autocomplete="username" maxlength="254" value="{hint}"' in await page(hint)
    escaped = await page('"><script>alert(1)</script>')
    assert ("<script" in escaped, 'value="&#34;&gt;&lt;script' in escaped) == (False, True)
    for unusable in ("a" * 255, "a\nb"):
        assert 'maxlength="254" value=""' in await page(unusable)
    browser = Browser(door)
    pushed = await client_app.post("par", client_app.query(login_hint="ann@example.com", ui_locales="fr-CA de"))
    to_sign_in = await browser.get("/oauth2/authorize", {"client_id": client_app.id, **_uri(pushed)})
    shown = (await browser.get(to_sign_in.headers["location"])).text
    assert ('value="ann@example.com"' in shown, '<html lang="fr">' in shown) == (True, True)
    signed_in = await browser.sign_in("ann", to_sign_in.headers["location"])
    assert '<html lang="fr">' in (await browser.get(signed_in.headers["location"])).text


async def test_a_person_may_refuse(browser: Browser, client_app: OAuthClient) -> None:
    consent = await browser.get("/oauth2/authorize", client_app.query())
    answer = answer_of(await browser.allow(consent, "deny"))
    assert (answer["error"], answer["state"], answer["iss"]) == ("access_denied", "s-1", ISSUER)


async def test_prompt_none_never_shows_a_page(door: Door, browser: Browser, client_app: OAuthClient) -> None:
    silent = client_app.query(prompt="none")
    assert answer_of(await Browser(door).get("/oauth2/authorize", silent))["error"] == "login_required"
    assert answer_of(await browser.get("/oauth2/authorize", silent))["error"] == "consent_required"
    await code_for(browser, client_app)
    assert "code" in answer_of(await browser.get("/oauth2/authorize", client_app.query(prompt="none")))


async def test_prompt_login_asks_once_more(browser: Browser, client_app: OAuthClient) -> None:
    await code_for(browser, client_app)
    to_sign_in = await browser.get("/oauth2/authorize", client_app.query(prompt="login"))
    assert urlsplit(to_sign_in.headers["location"]).path == "/auth/pages/sign-in"
    signed_in = await browser.sign_in("ann", to_sign_in.headers["location"])
    assert "code" in answer_of(await browser.get(signed_in.headers["location"]))


async def test_an_old_sign_in_is_repeated_for_max_age(door: Door, browser: Browser, client_app: OAuthClient) -> None:
    await code_for(browser, client_app)
    assert "code" in answer_of(await browser.get("/oauth2/authorize", client_app.query(max_age="60")))
    await door.run("UPDATE sessions SET auth_time = auth_time - interval '2 minutes'")
    again = await browser.get("/oauth2/authorize", client_app.query(max_age="60"))
    assert urlsplit(again.headers["location"]).path == "/auth/pages/sign-in"


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/callback",
        "https://planner.example/callback/",
        "https://planner.example/callback?x=1",
        "https://planner.example/callback#f",
        "https://planner.example/Callback",
        "https://PLANNER.example/callback",
        "https://planner.example:443/callback",
        "https://planner.example/callback/../callback",
        "https://planner.example//callback",
        "https://planner.example/%63allback",
        "https://planner.example.evil.example/callback",
        "https://evil.example/https://planner.example/callback",
        "https://planner.example@evil.example/callback",
        "https://evil.example\\@planner.example/callback",
        "https://planner.example/callback%0d%0aLocation:https://evil.example",
        "https://planner.example/callback ",
        " https://planner.example/callback",
        "http://planner.example/callback",
        "//planner.example/callback",
        "/callback",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://sub.planner.example/callback",
        "https://planner.example",
        "",
        None,
    ],
)
async def test_no_browser_is_sent_to_another_redirect_uri(
    browser: Browser, client_app: OAuthClient, uri: str | None
) -> None:
    for query in (client_app.query(redirect_uri=uri), client_app.query(redirect_uri=uri, response_type="token")):
        reply = await browser.get("/oauth2/authorize", query)
        assert (reply.status_code, "location" in reply.headers) == (400, False)
        assert "not valid" in reply.text


async def test_a_repeated_redirect_uri_or_client_is_refused(browser: Browser, client_app: OAuthClient) -> None:
    query = client_app.query()
    for name, value in (("redirect_uri", "https://evil.example/"), ("client_id", "x")):
        reply = await browser.get("/oauth2/authorize", {**query, name: [query[name], value]})
        assert (reply.status_code, "location" in reply.headers) == (400, False)


async def test_a_native_client_has_any_port_of_loopback(door: Door, admin: dict[str, Any], browser: Browser) -> None:
    native = await registered(
        door,
        admin,
        application_type="native",
        token_endpoint_auth_method="none",
        redirect_uris=["http://127.0.0.1/cb", "com.example.app:/cb"],
    )
    for uri in ("http://127.0.0.1:51004/cb", "com.example.app:/cb"):
        code = await code_for(browser, native, redirect_uri=uri)
        assert (await native.redeem(code, redirect_uri=uri)).status_code == 200
        asked = await browser.get("/oauth2/authorize", native.query(redirect_uri=uri))
        assert asked.status_code == 200, "what was allowed is asked again where another program may listen"
    for uri in ("http://localhost:51004/cb", "http://127.0.0.1:51004/other", "http://127.0.0.2:51004/cb"):
        assert (await browser.get("/oauth2/authorize", native.query(redirect_uri=uri))).status_code == 400


async def test_a_first_party_client_is_not_allowed_silently_where_another_program_may_listen(
    door: Door, admin: dict[str, Any], browser: Browser
) -> None:
    """Any program on the device can send the client's request, and receive the code at its private scheme."""
    uris = ["com.example.app:/cb", "https://app.example/cb"]
    native = await registered(
        door, admin, token_endpoint_auth_method="none", application_type="native", redirect_uris=uris
    )
    await door.run("UPDATE oauth_clients SET first_party = true")
    asked = await browser.get("/oauth2/authorize", native.query(redirect_uri=uris[0]))
    assert (asked.status_code, "Allow Planner?" in asked.text) == (200, True)
    silent = await browser.get("/oauth2/authorize", native.query(redirect_uri=uris[0], prompt="none"))
    assert answer_of(silent)["error"] == "consent_required"
    assert "code" in answer_of(await browser.get("/oauth2/authorize", native.query(redirect_uri=uris[1])))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"code_challenge": None}, "invalid_request"),
    ({"code_challenge_method": "plain"}, "invalid_request"),
    ({"code_challenge_method": None}, "invalid_request"),
    ({"code_challenge": "short"}, "invalid_request"),
    ({"response_type": "token"}, "unsupported_response_type"),
    ({"response_type": "code id_token"}, "unsupported_response_type"),
    ({"response_type": None}, "unsupported_response_type"),
    ({"response_mode": "fragment"}, "invalid_request"),
    ({"scope": "system:write"}, "invalid_scope"),
    ({"request": "e30.e30."}, "request_not_supported"),
    ({"prompt": "none login"}, "invalid_request"),
    ({"prompt": "other"}, "invalid_request"),
    ({"max_age": "-1"}, "invalid_request"),
    ({"resource": "https://other.example"}, "invalid_target"),
    ({"scope": ["openid", "jobs:read"]}, "invalid_request"),
    ({"nonce": "\x07"}, "invalid_request"),
]


@pytest.mark.parametrize(("changes", "error"), WRONG)
async def test_what_is_wrong_is_reported_to_the_client(
    browser: Browser, client_app: OAuthClient, changes: dict[str, Any], error: str
) -> None:
    answer = answer_of(await browser.get("/oauth2/authorize", client_app.query(**changes)))
    assert (answer["error"], answer["state"], answer["iss"]) == (error, "s-1", ISSUER)


@pytest.mark.parametrize(("changes", "error"), WRONG)
async def test_no_browser_is_sent_to_a_client_before_its_person_signs_in(
    door: Door, client_app: OAuthClient, changes: dict[str, Any], error: str
) -> None:
    """RFC 9700, section 4.11.2: a wrong request must not make this server an open redirector."""
    browser = Browser(door)
    to_sign_in = await browser.get("/oauth2/authorize", client_app.query(**changes))
    assert (to_sign_in.status_code, urlsplit(to_sign_in.headers["location"]).path) == (303, "/auth/pages/sign-in")
    signed_in = await browser.sign_in("ann", to_sign_in.headers["location"])
    answer = answer_of(await browser.get(signed_in.headers["location"]))
    assert (answer["error"], answer["state"], answer["iss"]) == (error, "s-1", ISSUER)


async def test_a_silent_request_is_answered_without_a_page(door: Door, client_app: OAuthClient) -> None:
    """The exception of RFC 9700, section 4.11.2: `prompt=none` never shows a page."""
    answer = answer_of(await Browser(door).get("/oauth2/authorize", client_app.query(prompt="none", scope="x")))
    assert (answer["error"], answer["state"], answer["iss"]) == ("invalid_scope", "s-1", ISSUER)


@pytest.mark.parametrize("changes", [{}, {"scope": "system:write"}, {"response_type": "token"}])
async def test_another_tenants_client_gets_no_browser_automatically(
    door: Door, browser: Browser, changes: dict[str, Any]
) -> None:
    """Anyone may sign up a tenant and register a client there, with a page of their own as its redirect URI."""
    elsewhere = await registered(door, await door.signed_up("bob", slug="globex"))
    page = await browser.get("/oauth2/authorize", elsewhere.query(**changes))
    assert (page.status_code, "location" in page.headers) == (400, False)
    assert "Planner belongs to a tenant that you are not a member of." in page.text
    [link] = re.findall(r'<a href="(https://[^"]+)" rel="noreferrer">Go back to https://planner.example</a>', page.text)
    assert unescape(link).startswith(f"{CALLBACK}?error=")


@pytest.mark.parametrize(
    "changes",
    [
        {"code_verifier": None},
        {"code_verifier": pkce()[0]},
        {"code_verifier": "short"},
        {"redirect_uri": "https://planner.example/other"},
        {"code": "wrong"},
        {"code": None},
    ],
)
async def test_a_wrong_redemption_is_refused(
    browser: Browser, client_app: OAuthClient, changes: dict[str, str | None]
) -> None:
    code = await code_for(browser, client_app)
    reply = await client_app.redeem(**{"code": code, **changes})
    assert (reply.status_code, reply.json()["error"]) == (400, "invalid_grant")


async def test_a_replayed_code_ends_what_it_issued(door: Door, browser: Browser, client_app: OAuthClient) -> None:
    code = await code_for(browser, client_app)
    tokens = (await client_app.redeem(code)).json()
    replayed = await client_app.redeem(code)
    assert (replayed.status_code, replayed.json()["error"]) == (400, "invalid_grant")
    assert (await client_app.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    events = await door.rows("SELECT kind FROM security_events WHERE kind = 'authorization_code_replayed'")
    assert len(events) == 1


async def test_of_twenty_redemptions_at_once_one_succeeds(browser: Browser, client_app: OAuthClient) -> None:
    code = await code_for(browser, client_app)
    replies = await asyncio.gather(*(client_app.redeem(code) for _ in range(20)))
    assert sorted(reply.status_code for reply in replies) == [200] + [400] * 19


async def test_a_code_of_another_client_is_refused_and_stays_valid(
    door: Door, admin: dict[str, Any], browser: Browser, client_app: OAuthClient
) -> None:
    other = await registered(door, admin)
    code = await code_for(browser, client_app)
    stolen = await other.redeem(code, code_verifier=client_app.verifier)
    assert (stolen.status_code, stolen.json()["error"]) == (400, "invalid_grant")
    assert (await client_app.redeem(code)).status_code == 200


async def test_an_expired_code_is_refused(door: Door, browser: Browser, client_app: OAuthClient) -> None:
    code = await code_for(browser, client_app)
    await door.run("UPDATE authorization_codes SET expires_at = now() - interval '1 second'")
    assert (await client_app.redeem(code)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}]
)
async def test_a_form_of_another_site_is_refused(
    door: Door, browser: Browser, client_app: OAuthClient, headers: dict[str, str]
) -> None:
    consent = await browser.get("/oauth2/authorize", client_app.query())
    fields = {**fields_of(consent.text), "decision": "allow"}
    assert (await browser.send("/oauth2/consent", fields, **headers)).status_code == 403
    fields = {"username": "ann", "password": "Sail-away-7", "continue": ""}
    reply = await browser.send("/auth/pages/sign-in", fields, **headers)
    assert (reply.status_code, "set-cookie" in reply.headers) == (403, False)


async def test_a_consent_needs_the_token_of_its_own_page(door: Door, browser: Browser, client_app: OAuthClient) -> None:
    consent = await browser.get("/oauth2/authorize", client_app.query())
    fields = fields_of(consent.text)
    other = fields_of((await browser.get("/oauth2/authorize", client_app.query(scope="jobs:read"))).text)
    for bent in ({**fields, "csrf": other["csrf"]}, {**fields, "csrf": ""}, {**fields, "request": other["request"]}):
        assert (await browser.send("/oauth2/consent", {**bent, "decision": "allow"})).status_code == 403
    assert await door.rows("SELECT 1 FROM authorization_codes") == []


@pytest.mark.parametrize(
    "continued",
    [
        "https://evil.example/",
        "//evil.example/oauth2/authorize",
        "/\\evil.example",
        "/oauth2/authorize@evil.example",
        "/oauth2/../evil",
        "javascript:alert(1)",
        "/auth/pages/sign-in",
        "/oauth2/authorize?x=\r\nLocation: https://evil.example",
    ],
)
async def test_the_sign_in_page_continues_nowhere_else(door: Door, admin: dict[str, Any], continued: str) -> None:
    browser = Browser(door)
    fields = {"username": "ann", "password": "Sail-away-7", "continue": continued}
    reply = await browser.send("/auth/pages/sign-in", fields)
    assert (reply.status_code, reply.headers["location"]) == (303, "/auth/pages/signed-in")


async def test_pages_of_sign_in_are_framed_by_no_site_and_may_end_at_the_client(
    browser: Browser, client_app: OAuthClient
) -> None:
    page = await browser.get("/oauth2/authorize", client_app.query())
    policy = page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' https://planner.example;" in policy
    assert page.headers["x-frame-options"] == "DENY"


async def test_a_wrong_password_keeps_the_request(door: Door, client_app: OAuthClient) -> None:
    browser = Browser(door)
    to_sign_in = await browser.get("/oauth2/authorize", client_app.query())
    wrong = await browser.sign_in("ann", to_sign_in.headers["location"], "Wrong-word-1")
    assert (wrong.status_code, "Username or password is wrong." in wrong.text) == (401, True)
    assert fields_of(wrong.text)["continue"].startswith("/oauth2/authorize?")
    assert browser.cookies == {}


async def test_signing_out_ends_the_browser_and_what_it_opened(
    door: Door, admin: dict[str, Any], browser: Browser, client_app: OAuthClient
) -> None:
    brief = (await client_app.redeem(await code_for(browser, client_app))).json()
    lasting = (await client_app.redeem(await code_for(browser, client_app, scope="openid offline_access"))).json()
    ended = await door.client.delete("/auth/sessions", headers=door.bearer((await door.login("ann")).json()))
    assert ended.json()["sessions_ended"] >= 2
    to_sign_in = await browser.get("/oauth2/authorize", client_app.query())
    assert urlsplit(to_sign_in.headers["location"]).path == "/auth/pages/sign-in"
    assert (await client_app.refresh(brief["refresh_token"])).status_code == 400
    assert lasting["refresh_token"]


async def test_a_pushed_request_replaces_the_query_once(door: Door, admin: dict[str, Any], browser: Browser) -> None:
    client = await registered(door, admin, require_pushed_authorization_requests=True)
    query = client.query()
    assert answer_of(await browser.get("/oauth2/authorize", query))["error"] == "invalid_request"
    pushed = await client.post("par", query)
    assert (pushed.status_code, pushed.json()["expires_in"]) == (201, 600)
    short = {"client_id": client.id, "request_uri": pushed.json()["request_uri"]}
    code = answer_of(await browser.allow(await browser.get("/oauth2/authorize", short)))["code"]
    assert (await client.redeem(code)).status_code == 200
    again = await browser.get("/oauth2/authorize", short)
    assert (again.status_code, "location" in again.headers) == (400, False)
    bad = await client.post("par", client.query(redirect_uri="https://evil.example/"))
    assert (bad.status_code, bad.json()["error"]) == (400, "invalid_request")
    login = await client.post("par", client.query(prompt="login"))
    asked = await browser.get("/oauth2/authorize", {"client_id": client.id, **_uri(login)})
    signed_in = await browser.sign_in("ann", asked.headers["location"])
    assert "code" in answer_of(await browser.get(signed_in.headers["location"]))


def _uri(pushed: Any) -> dict[str, str]:
    return {"request_uri": pushed.json()["request_uri"]}


async def test_an_oauth_client_manages_no_account(door: Door, browser: Browser, client_app: OAuthClient) -> None:
    tokens = (await client_app.redeem(await code_for(browser, client_app))).json()
    bearer = door.bearer(tokens)
    for method, path in (("GET", "/auth/sessions"), ("POST", "/auth/logout-all"), ("GET", "/oauth2/consents")):
        assert problem(await door.client.request(method, path, headers=bearer)) == (403, "client_not_allowed")
    assert (await door.client.post("/auth/logout", headers=bearer)).status_code == 204
    assert CALLBACK


async def test_a_link_accepts_no_invitation(
    door: Door, users: FakeUsers, admin: dict[str, Any], browser: Browser
) -> None:
    bob = await door.signed_up("bob", slug="globex")
    elsewhere = await registered(door, bob)
    invited = users.add_member("globex", claims_of(admin)["sub"], roles=["user"], status="invited")
    page = await browser.get("/oauth2/authorize", elsewhere.query())
    assert (page.status_code, "error=access_denied" in page.text, invited["status"]) == (400, True, "invited")
    stored = users.memberships[invited["tenant"]["id"], invited["user_id"]]
    assert stored["status"] == "invited"
