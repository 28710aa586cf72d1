"""Signing in, signing up and linking through an upstream issuer, as a browser does it."""

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from shared.testing.fakes import FakeUsers

from . import oauth
from .door import Door, claims_of, problem
from .events import chosen_settings
from .factors import asked, fresh
from .issuer import Browser, Issuer, registered
from .mailbox import Mailbox, text_of


async def session_of(door: Door) -> dict[str, Any]:
    """The newest session."""
    return (await door.rows("SELECT * FROM sessions ORDER BY created_at DESC LIMIT 1"))[0]


async def account_of(door: Door, username: str) -> dict[str, Any]:
    return (await door.rows("SELECT * FROM accounts WHERE username = :name", name=username))[0]


async def test_the_request_carries_pkce_nonce_and_state_and_the_browser_a_cookie(
    door: Door, root: dict[str, str], issuer: Issuer, browser: Browser
) -> None:
    provider = await registered(door, root, issuer.url, fleet_wide=True)
    reply = await browser.http.get(f"/auth/upstream/{provider['id']}/start")
    url = urlsplit(reply.headers["location"])
    asked = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{issuer.url}/authorize"
    assert asked["redirect_uri"] == provider["redirect_uri"]
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert asked["scope"] == "openid profile email"
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    name, *flags = reply.headers["set-cookie"].split("; ")
    assert name.startswith("flotilla_upstream=")
    assert set(flags) == {"HttpOnly", "Path=/", "SameSite=lax", "Max-Age=600"}
    stored = str(await door.rows("SELECT * FROM upstream_ceremonies"))
    assert not any(secret in stored for secret in (asked["state"], asked["nonce"], name.partition("=")[2]))


async def test_a_new_person_signs_up_and_signs_in_again(
    door: Door, root: dict[str, str], issuer: Issuer, browser: Browser
) -> None:
    provider = await registered(door, root, issuer.url, fleet_wide=True)
    person = {"email": "Cy@corp.example", "email_verified": True, "preferred_username": "Cy Ng"}
    reply = await browser.sign_in(provider, issuer, "sub-1", **person)
    assert (reply.status_code, reply.headers["location"]) == (303, "/auth/pages/signed-in"), reply.text
    account = await account_of(door, "Cy-Ng")
    assert (account["email"], account["unverified_email"], account["status"]) == ("Cy@corp.example", None, "active")
    session = await session_of(door)
    assert (session["account_id"], session["amr"], session["confined"]) == (account["id"], ["fed"], False)
    again = await browser.sign_in(provider, issuer, "sub-1", email="new@corp.example", email_verified=True)
    assert again.status_code == 303
    assert (await session_of(door))["account_id"] == account["id"]
    assert len(await door.rows("SELECT 1 FROM accounts WHERE username LIKE 'Cy%'")) == 1


async def test_an_address_that_the_issuer_does_not_vouch_for_is_not_verified(
    door: Door, root: dict[str, str], issuer: Issuer, browser: Browser, mailbox: Mailbox
) -> None:
    provider = await registered(door, root, issuer.url, fleet_wide=True)
    for number, verified in enumerate((False, "true", 1, None)):
        name = f"cy{number}"
        reply = await browser.sign_in(
            provider, issuer, name, email=f"{name}@corp.example", email_verified=verified, preferred_username=name
        )
        assert reply.status_code == 303, reply.text
        account = await account_of(door, name)
        assert (account["email"], account["unverified_email"]) == (None, f"{name}@corp.example")
    await mailbox.received(4)  # each is mailed the link that verifies it


async def test_the_username_is_taken_from_the_person_and_made_unique(
    door: Door, root: dict[str, str], issuer: Issuer, browser: Browser
) -> None:
    provider = await registered(door, root, issuer.url, fleet_wide=True)
    for number, claims in enumerate(({"preferred_username": "root"}, {"email": "zed@x.example"}, {"name": "李"}, {})):
        assert (await browser.sign_in(provider, issuer, f"sub-{number}", **claims)).status_code == 303
    names = [row["username"] for row in await door.rows("SELECT username FROM accounts ORDER BY created_at")]
    assert names[0] == "root"
    assert names[1].startswith("root-")
    assert names[2] == "zed"
    assert names[3] == "user"
    assert names[4].startswith("user-")


@pytest.mark.parametrize("verified", [True, False, None])
async def test_an_equal_email_signs_in_to_no_account(
    verified: bool | None, door: Door, root: dict[str, str], issuer: Issuer, browser: Browser
) -> None:
    provider = await registered(door, root, issuer.url, fleet_wide=True)
    await door.signed_up("ann", slug="annsplace")
    before = len(await door.rows("SELECT 1 FROM sessions"))
    reply = await browser.sign_in(
        provider, issuer, "sub-1", email="Ann@Example.com", email_verified=verified, preferred_username="ann"
    )
    assert (reply.status_code, "You have an account already" in reply.text) == (409, True)
    assert len(await door.rows("SELECT 1 FROM sessions")) == before
    assert await door.rows("SELECT 1 FROM identities") == []
    refused = await door.rows("SELECT details FROM security_events WHERE kind = 'sign_in_refused'")
    assert [row["details"]["reason"] for row in refused] == ["identity_not_linked"]


async def test_an_email_that_an_account_only_asked_for_counts_too(
    door: Door, root: dict[str, str], issuer: Issuer, browser: Browser
) -> None:
    provider = await registered(door, root, issuer.url, fleet_wide=True)
    await door.signed_up("ann", slug="annsplace")
    await door.run("UPDATE accounts SET unverified_email = 'wish@example.com' WHERE username = 'ann'")
    reply = await browser.sign_in(provider, issuer, "sub-1", email="wish@example.com", email_verified=True)
    assert reply.status_code == 409


async def test_a_signed_in_person_links_and_then_signs_in(
    door: Door, root: dict[str, str], issuer: Issuer, browser: Browser
) -> None:
    provider = await registered(door, root, issuer.url, fleet_wide=True)
    ann = door.bearer(await door.signed_up("ann", slug="annsplace"))
    linked = await browser.link(provider, issuer, ann, "sub-1", email="other@corp.example")
    assert (linked.status_code, linked.headers["location"]) == (303, "/auth/upstream/linked")
    assert "From now on you can sign in this way" in (await browser.http.get(linked.headers["location"])).text
    listed = (await door.client.get("/auth/identities", headers=ann)).json()["items"]
    assert [(one["provider"]["name"], one["email"]) for one in listed] == [("Workforce", "other@corp.example")]
    assert (await browser.sign_in(provider, issuer, "sub-1", email="x@y.example")).status_code == 303
    assert (await session_of(door))["account_id"] == (await account_of(door, "ann"))["id"]

    bob = door.bearer(await door.signed_up("bob", slug="bobsplace"))
    taken = await browser.link(provider, issuer, bob, "sub-1")
    assert (taken.status_code, "linked to another account" in taken.text) == (409, True)

    gone = await door.client.delete(f"/auth/identities/{listed[0]['id']}", headers=bob)
    assert problem(gone) == (404, "identity_not_found")
    gone = await door.client.delete(f"/auth/identities/{listed[0]['id']}", headers=ann)
    assert gone.status_code == 204
    kinds = {row["kind"] for row in await door.rows("SELECT kind FROM security_events")}
    assert {"identity_provider_created", "identity_linked", "identity_unlinked"} <= kinds


async def test_a_person_confirms_before_they_link_and_is_notified(
    door: Door, root: dict[str, str], issuer: Issuer, browser: Browser, mailbox: Mailbox
) -> None:
    provider = await registered(door, root, issuer.url, fleet_wide=True)
    tokens = await door.signed_up("ann", slug="annsplace")
    ann = door.bearer(tokens)
    assert (await browser.link(provider, issuer, ann, "sub-1")).status_code == 303
    mail = await mailbox.received(1)
    assert (mail["to"], mail["subject"]) == ("ann@example.com", "A sign-in was linked to your account")
    assert f"an identity of {issuer.url} was linked" in text_of(mail)
    assert (await browser.link(provider, issuer, ann, "sub-1")).status_code == 303  # changes nothing
    [identity] = (await door.client.get("/auth/identities", headers=ann)).json()["items"]

    await door.run("UPDATE sessions SET auth_time = auth_time - interval '1 hour'")
    later = door.bearer(await fresh(door, tokens))
    for method, path in (("POST", f"{provider['id']}/link"), ("DELETE", identity["id"])):
        refused = await door.client.request(method, f"/auth/identities/{path}", headers=later)
        assert problem(refused) == (401, "insufficient_user_authentication")
    assert (await door.client.delete(f"/auth/identities/{identity['id']}", headers=ann)).status_code == 204
    assert "was unlinked" in text_of(await mailbox.received(2))


async def test_a_link_ends_with_the_session_that_asked_for_it(
    door: Door, root: dict[str, str], issuer: Issuer, browser: Browser
) -> None:
    provider = await registered(door, root, issuer.url, fleet_wide=True)
    ann = door.bearer(await door.signed_up("ann", slug="annsplace"))
    begun = await browser.http.post(f"/auth/identities/{provider['id']}/link", headers=ann)
    await door.client.post("/auth/logout", headers=ann)
    answer = issuer.sign_in(begun.json()["authorization_url"], "sub-1")
    assert (await browser.come_back(provider, answer)).status_code == 400
    assert await door.rows("SELECT 1 FROM identities") == []


async def test_the_last_way_to_sign_in_stays(
    door: Door, root: dict[str, str], issuer: Issuer, browser: Browser
) -> None:
    provider = await registered(door, root, issuer.url, fleet_wide=True)
    await browser.sign_in(
        provider, issuer, "sub-1", preferred_username="cyd", email="cyd@x.example", email_verified=True
    )
    assert problem(await door.login("cyd", "no account has this password")) == (401, "sign_in_refused")
    await door.run(
        "UPDATE accounts SET password_hash = root.password_hash FROM accounts AS root"
        " WHERE root.username = 'root' AND accounts.username = 'cyd'"
    )
    cy = door.bearer((await door.login("cyd")).json())
    identity = (await door.client.get("/auth/identities", headers=cy)).json()["items"][0]["id"]
    await door.run("UPDATE accounts SET password_hash = '' WHERE username = 'cyd'")
    last = await door.client.delete(f"/auth/identities/{identity}", headers=cy)
    assert problem(last) == (409, "last_sign_in_method")
    await door.run("UPDATE accounts SET password_hash = 'x' WHERE username = 'cyd'")
    assert (await door.client.delete(f"/auth/identities/{identity}", headers=cy)).status_code == 204


async def test_an_unfinished_sign_up_is_finished_by_the_next_sign_in(
    door: Door, root: dict[str, str], issuer: Issuer, browser: Browser, users: FakeUsers
) -> None:
    provider = await registered(door, root, issuer.url, fleet_wide=True)
    users.down = True
    reply = await browser.sign_in(provider, issuer, "sub-1", preferred_username="cyd")
    assert (reply.status_code, "not ready yet" in reply.text) == (503, True)
    users.down = False
    assert (await account_of(door, "cyd"))["status"] == "pending"
    assert (await browser.sign_in(provider, issuer, "sub-1", preferred_username="cyd")).status_code == 303
    assert (await account_of(door, "cyd"))["status"] == "active"


async def test_claims_may_come_from_userinfo_of_the_same_person_only(
    door: Door, root: dict[str, str], issuer: Issuer, browser: Browser
) -> None:
    provider = await registered(door, root, issuer.url, fleet_wide=True)
    issuer.userinfo = {"sub": "sub-1", "email": "cyd@corp.example", "email_verified": True}
    assert (await browser.sign_in(provider, issuer, "sub-1")).status_code == 303
    assert (await account_of(door, "cyd"))["email"] == "cyd@corp.example"
    assert (await browser.sign_in(provider, issuer, "sub-2")).status_code == 502


async def test_what_the_person_refused_is_a_page_without_the_issuers_words(
    door: Door, root: dict[str, str], issuer: Issuer, browser: Browser
) -> None:
    provider = await registered(door, root, issuer.url, fleet_wide=True)
    answer = issuer.sign_in(await browser.start(provider), "sub-1")
    refused = {
        "state": answer["state"],
        "iss": issuer.url,
        "error": "access_denied",
        "error_description": "<b>call me</b>",
    }
    reply = await browser.come_back(provider, refused)
    assert (reply.status_code, "call me" in reply.text, "did not sign you in" in reply.text) == (403, False, True)


class TestTenantProvider:
    """A provider that a tenant's admin registered: it says who a person is in that tenant, and nowhere else."""

    async def test_its_sessions_are_confined(
        self, door: Door, admin: dict[str, str], issuer: Issuer, browser: Browser, users: FakeUsers
    ) -> None:
        provider = await registered(door, admin, issuer.url)
        person = {"email": "cyd@corp.example", "email_verified": True, "preferred_username": "cyd"}
        assert (await browser.sign_in(provider, issuer, "sub-1", **person)).status_code == 303
        account, session = await account_of(door, "cyd"), await session_of(door)
        assert (account["email"], account["unverified_email"]) == (None, "cyd@corp.example")
        globex = users.tenants["globex"]["id"]
        assert (str(session["tenant_id"]), session["confined"]) == (globex, True)
        assert [key for key in users.memberships if key[1] == str(account["id"])] == [(globex, str(account["id"]))]

        headers = _of_session(door, session)
        assert (await door.client.get("/auth/me", headers=headers)).status_code == 200
        for method, path, body in (
            ("POST", "/auth/sessions", {"tenant": "globex"}),
            ("POST", "/auth/password", {"current_password": "x", "password": "y", "confirm_password": "y"}),
            ("GET", "/auth/sessions", None),
            ("DELETE", "/auth/sessions", None),
            ("POST", "/auth/logout-all", None),
            ("GET", "/auth/identities", None),
            ("POST", f"/auth/identities/{provider['id']}/link", None),
        ):
            reply = await door.client.request(method, path, json=body, headers=headers)
            assert problem(reply) == (403, "session_confined"), path
        assert (await door.client.post("/auth/logout", headers=headers)).status_code == 204

    async def test_an_account_of_elsewhere_is_not_revealed_and_not_entered(
        self, door: Door, admin: dict[str, str], issuer: Issuer, browser: Browser
    ) -> None:
        """An admin who runs an issuer could otherwise ask for any address whether it has an account."""
        provider = await registered(door, admin, issuer.url)
        await door.signed_up("ann", slug="annsplace")
        person = {"email": "ann@example.com", "email_verified": True, "preferred_username": "ann"}
        assert (await browser.sign_in(provider, issuer, "sub-1", **person)).status_code == 303
        ann, session = await account_of(door, "ann"), await session_of(door)
        assert (session["account_id"] != ann["id"], ann["email"]) == (True, "ann@example.com")
        reply = await browser.sign_in(provider, issuer, "sub-2", email="boss@example.com", email_verified=True)
        assert reply.status_code == 409  # a member of this tenant

    async def test_it_signs_a_linked_person_in_to_its_tenant_alone(
        self, door: Door, admin: dict[str, str], issuer: Issuer, browser: Browser, users: FakeUsers
    ) -> None:
        provider = await registered(door, admin, issuer.url)
        ann = door.bearer(await door.signed_up("ann", slug="annsplace"))
        elsewhere = await door.client.post(f"/auth/identities/{provider['id']}/link", headers=ann)
        assert problem(elsewhere) == (404, "identity_provider_not_found")
        account = await account_of(door, "ann")
        users.add_member("globex", account["id"], roles=["user"])
        here = (await door.client.post("/auth/sessions", json={"tenant": "globex"}, headers=ann)).json()
        assert (await browser.link(provider, issuer, door.bearer(here), "sub-1")).status_code == 303
        reply = await browser.sign_in(provider, issuer, "sub-1", query={"tenant": "annsplace"})
        assert reply.status_code == 303
        session = await session_of(door)
        assert (str(session["tenant_id"]), session["account_id"]) == (users.tenants["globex"]["id"], account["id"])

    async def test_it_adds_a_second_factor_only_where_it_is_the_one_way_in(
        self, door: Door, admin: dict[str, str], issuer: Issuer, browser: Browser, users: FakeUsers
    ) -> None:
        """Its admins could otherwise lock a person out of their account, in every tenant."""
        provider = await registered(door, admin, issuer.url)
        ann = door.bearer(await door.signed_up("ann", slug="annsplace"))
        users.add_member("globex", (await account_of(door, "ann"))["id"], roles=["user"])
        here = (await door.client.post("/auth/sessions", json={"tenant": "globex"}, headers=ann)).json()
        await browser.link(provider, issuer, door.bearer(here), "sub-1")
        await chosen_settings(door, users, "globex", {"mfa_required": True})
        reply = await browser.sign_in(provider, issuer, "sub-1")
        assert (reply.status_code, "Sign in to the account itself" in reply.text) == (403, True)
        assert "mfa_token" not in reply.text
        assert (await asked(door, tenant="globex"))["enrol"] is True  # by the account itself
        only_here = await browser.sign_in(provider, issuer, "sub-2", preferred_username="cyd")
        assert (only_here.status_code, "mfa_token" in only_here.text) == (200, True)

    async def test_its_sessions_show_what_happened_in_its_tenant_alone(
        self, door: Door, admin: dict[str, str], issuer: Issuer, browser: Browser, users: FakeUsers
    ) -> None:
        provider = await _linked(door, admin, issuer, browser, users)
        await browser.sign_in(provider, issuer, "sub-1")
        reply = await door.client.get("/auth/audit", headers=_of_session(door, await session_of(door)))
        events = reply.json()["items"]
        assert {event["tenant_id"] for event in events} == {users.tenants["globex"]["id"]}

    async def test_its_sessions_are_no_operators(
        self, door: Door, admin: dict[str, str], issuer: Issuer, browser: Browser, users: FakeUsers
    ) -> None:
        provider = await registered(door, admin, issuer.url)
        scope = "openid jobs:read system:write"
        client = await oauth.registered(door, (await door.login("boss")).json(), scope=scope)
        await door.run("UPDATE oauth_clients SET first_party = true")
        await browser.sign_in(provider, issuer, "sub-1", preferred_username="cyd")
        users.add_member("globex", (await account_of(door, "cyd"))["id"], roles=["user", "system"])
        await door.a_minute_passes()
        reply = await browser.http.get("/oauth2/authorize", params=client.query(scope=scope))
        claims = claims_of((await client.redeem(oauth.answer_of(reply)["code"])).json())
        assert (claims["roles"], claims["scope"]) == (["user"], "jobs:read openid")

    async def test_disabling_it_ends_its_sessions(
        self, door: Door, admin: dict[str, str], issuer: Issuer, browser: Browser
    ) -> None:
        provider = await registered(door, admin, issuer.url)
        await browser.sign_in(provider, issuer, "sub-1", preferred_username="cyd")
        changed = await door.client.patch(
            f"/auth/identity-providers/{provider['id']}", json={"disabled": True}, headers=admin
        )
        assert changed.json()["disabled"] is True
        session = await session_of(door)
        assert (session["ended_at"] is not None, session["end_reason"]) == (True, "provider_removed")
        assert (await browser.http.get(f"/auth/upstream/{provider['id']}/start")).status_code == 404


async def _linked(
    door: Door, admin: dict[str, str], issuer: Issuer, browser: Browser, users: FakeUsers
) -> dict[str, Any]:
    """A provider of globex, where Ann, who has an account of her own, has linked the person `sub-1`."""
    provider = await registered(door, admin, issuer.url)
    ann = door.bearer(await door.signed_up("ann", slug="annsplace"))
    users.add_member("globex", (await account_of(door, "ann"))["id"], roles=["user"])
    here = (await door.client.post("/auth/sessions", json={"tenant": "globex"}, headers=ann)).json()
    assert (await browser.link(provider, issuer, door.bearer(here), "sub-1")).status_code == 303
    return provider


def _of_session(door: Door, session: dict[str, Any]) -> dict[str, str]:
    """The headers that the gateway sends on for the session's access token."""
    held = {"user_id": session["account_id"], "tenant_id": session["tenant_id"], "session_id": session["id"]}
    who = replace(door.people.principal("cyd"), **held)
    return door.people.headers(door.people.signer("gateway").forward(who, "auth"))


async def test_the_sign_in_page_offers_the_fleets_providers_and_the_tenants(
    door: Door, root: dict[str, str], admin: dict[str, str], issuer: Issuer, browser: Browser
) -> None:
    fleet = await registered(door, root, issuer.url, fleet_wide=True, name="Fleet <login>")
    theirs = await registered(door, admin, issuer.url, name="Globex login")
    page = (await browser.http.get("/auth/pages/sign-in")).text
    assert ("Fleet &lt;login&gt;" in page, "Globex login" in page) == (True, False)
    page = (await browser.http.get("/auth/pages/sign-in", headers={"X-Tenant-ID": "globex"})).text
    assert f"/auth/upstream/{theirs['id']}/start" in page
    await door.client.patch(f"/auth/identity-providers/{fleet['id']}", json={"disabled": True}, headers=root)
    assert "Fleet" not in (await browser.http.get("/auth/pages/sign-in")).text


async def test_it_goes_on_to_the_client_that_asked(
    door: Door, root: dict[str, str], issuer: Issuer, browser: Browser
) -> None:
    provider = await registered(door, root, issuer.url, fleet_wide=True)
    client = await oauth.registered(door, (await door.login("root")).json())
    await browser.sign_in(provider, issuer, "sub-1", preferred_username="cyd")
    account = await account_of(door, "cyd")
    wanted = client.query(prompt="login", tenant="default")
    url = f"/oauth2/authorize?{urlencode(wanted)}"
    reply = await browser.sign_in(provider, issuer, "sub-1", query={"continue": url})
    assert reply.headers["location"].startswith("/oauth2/authorize?")
    assert account["id"] == (await session_of(door))["account_id"]
    for elsewhere in ("https://evil.example/", "//evil.example", "/auth/logout", "/oauth2/authorize\\@evil.example"):
        reply = await browser.sign_in(provider, issuer, "sub-1", query={"continue": elsewhere})
        assert reply.headers["location"] == "/auth/pages/signed-in", elsewhere


async def test_a_tenants_own_provider_consents_to_no_client(
    door: Door, admin: dict[str, str], issuer: Issuer, browser: Browser
) -> None:
    provider = await registered(door, admin, issuer.url)
    client = await oauth.registered(door, (await door.login("boss")).json())
    await browser.sign_in(provider, issuer, "sub-1", preferred_username="cyd")
    answer = oauth.answer_of(await browser.http.get("/oauth2/authorize", params=client.query()))
    assert answer["error"] == "access_denied"
    await door.run("UPDATE oauth_clients SET first_party = true")
    answer = oauth.answer_of(await browser.http.get("/oauth2/authorize", params=client.query()))
    assert (await client.redeem(answer["code"])).status_code == 200
    assert (await session_of(door))["confined"] is True
    await door.run("UPDATE oauth_clients SET tenant_id = null")
    answer = oauth.answer_of(await browser.http.get("/oauth2/authorize", params=client.query(tenant="acme")))
    assert answer["error"] == "access_denied"


async def test_a_tenants_own_provider_allows_no_device(
    door: Door, root: dict[str, str], admin: dict[str, str], issuer: Issuer, browser: Browser, users: FakeUsers
) -> None:
    """A device's client may be another tenant's, where the person is a member too."""
    provider = await registered(door, admin, issuer.url)
    ann = (await door.login("root")).json()
    device = {"redirect_uris": [], "grant_types": [oauth.DEVICE_GRANT], "token_endpoint_auth_method": "none"}
    client = await oauth.registered(door, ann, **device)
    await browser.sign_in(provider, issuer, "sub-1", preferred_username="cyd")
    users.add_member("acme", (await account_of(door, "cyd"))["id"], roles=["user"])
    await door.a_minute_passes()
    asked = (await client.post("device_authorization", {})).json()
    shown = await browser.http.get("/oauth2/device")
    fields = {**oauth.fields_of(shown.text), "user_code": asked["user_code"]}
    reply = await browser.http.post("/oauth2/device", data=fields, headers=oauth.ORIGIN)
    assert (reply.status_code, "own sign-in" in reply.text) == (403, True)
    polled = await client.post("token", {"grant_type": oauth.DEVICE_GRANT, "device_code": asked["device_code"]})
    assert polled.json()["error"] == "authorization_pending"
    assert await door.rows("SELECT 1 FROM oauth_consents") == []


async def test_a_devices_session_ends_with_the_provider_that_signed_its_person_in(
    door: Door, root: dict[str, str], issuer: Issuer, browser: Browser
) -> None:
    provider = await registered(door, root, issuer.url, fleet_wide=True)
    device = {"redirect_uris": [], "grant_types": [oauth.DEVICE_GRANT], "token_endpoint_auth_method": "none"}
    client = await oauth.registered(door, (await door.login("root")).json(), fleet_wide=True, **device)
    await browser.sign_in(provider, issuer, "sub-1", preferred_username="cyd")
    asked = (await client.post("device_authorization", {})).json()
    shown = await browser.http.get("/oauth2/device")
    fields = {**oauth.fields_of(shown.text), "user_code": asked["user_code"]}
    consent = await browser.http.post("/oauth2/device", data=fields, headers=oauth.ORIGIN)
    allowed = {**oauth.fields_of(consent.text), "decision": "allow"}
    assert (await browser.http.post("/oauth2/device", data=allowed, headers=oauth.ORIGIN)).status_code == 303
    polled = await client.post("token", {"grant_type": oauth.DEVICE_GRANT, "device_code": asked["device_code"]})
    assert polled.status_code == 200, polled.text
    await door.client.patch(f"/auth/identity-providers/{provider['id']}", json={"disabled": True}, headers=root)
    session = await session_of(door)
    assert (session["client_id"], session["end_reason"]) == (client.id, "provider_removed")


async def test_each_session_of_a_provider_ends_once(
    door: Door, root: dict[str, str], issuer: Issuer, browser: Browser
) -> None:
    provider = await registered(door, root, issuer.url, fleet_wide=True)
    client = await oauth.registered(door, (await door.login("root")).json(), fleet_wide=True)
    await browser.sign_in(provider, issuer, "sub-1", preferred_username="cyd")
    consent = await browser.http.get("/oauth2/authorize", params=client.query())
    allowed = {**oauth.fields_of(consent.text), "decision": "allow"}
    answer = oauth.answer_of(await browser.http.post("/oauth2/consent", data=allowed, headers=oauth.ORIGIN))
    assert (await client.redeem(answer["code"])).status_code == 200
    await door.client.patch(f"/auth/identity-providers/{provider['id']}", json={"disabled": True}, headers=root)
    endings = await door.rows(
        "SELECT count(*) AS number FROM security_events WHERE kind = 'session_ended' GROUP BY session_id"
    )
    assert [ending["number"] for ending in endings] == [1, 1]
