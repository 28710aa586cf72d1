"""Deactivating an account ends all that acts for its person; a mailed link reactivates what the person deactivated."""

import asyncio
from email.message import EmailMessage
from typing import Any

import pytest

from shared.testing import eventually

from .door import PASSWORD, Door, Reply, claims_of, problem
from .factors import add_app, add_passkey, post
from .issuer import Browser as UpstreamBrowser
from .issuer import Issuer
from .issuer import registered as registered_provider
from .mailbox import Mailbox, link_in, text_of, token_in
from .oauth import DEVICE_GRANT, Browser, OAuthClient, answer_of, code_for, fields_of, registered

ORIGIN = {"Origin": "http://localhost:8000"}
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
SUBJECT = {"subject_token_type": "urn:ietf:params:oauth:token-type:access_token"}


async def deactivate(door: Door, tokens: dict[str, Any]) -> Reply:
    return await door.client.post("/auth/deactivate", headers=door.bearer(tokens))


async def deactivated(door: Door, tokens: dict[str, Any]) -> None:
    reply = await deactivate(door, tokens)
    assert reply.status_code == 204, reply.text


async def ask(door: Door, email: str = "ann@example.com") -> Reply:
    return await door.client.post("/auth/reactivate", json={"email": email})


async def confirm(door: Door, token: str) -> Reply:
    return await door.client.post("/auth/reactivate/confirm", json={"token": token})


async def mailed(mailbox: Mailbox, subject: str) -> EmailMessage:
    """The mail with that subject, once it is there."""
    await eventually(lambda: any(mail["Subject"] == subject for mail in mailbox.mails))
    [mail] = [mail for mail in mailbox.mails if mail["Subject"] == subject]
    return mail


async def made_key(door: Door, tokens: dict[str, Any]) -> dict[str, Any]:
    body = {"name": "Nightly import", "scopes": ["files:read"]}
    made = await door.client.post("/auth/api-keys", json=body, headers=door.bearer(tokens))
    assert made.status_code == 201, made.text
    key: dict[str, Any] = made.json()
    return key


async def redeem(door: Door, key: dict[str, Any]) -> Reply:
    return await door.client.post(
        "/internal/api-keys/redeem", json={"key": key["key"]}, headers=door.people.service("gateway")
    )


async def test_sessions_and_keys_end_at_once(door: Door, mailbox: Mailbox) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    other = (await door.login("ann")).json()
    key, second = await made_key(door, tokens), await made_key(door, tokens)
    await deactivated(door, tokens)

    for ended in (tokens, other):
        assert problem(await door.client.get("/auth/me", headers=door.bearer(ended))) == (401, "invalid_token")
        assert problem(await door.refresh(ended["refresh_token"])) == (401, "refresh_refused")
    assert problem(await redeem(door, key)) == (401, "invalid_token")
    feed = await door.rows("SELECT kind, ref FROM revocations")
    person = claims_of(tokens)["sub"]
    assert {(row["kind"], row["ref"]) for row in feed} == {
        ("user", person),
        ("session", key["id"]),
        ("session", second["id"]),
    }
    events = await door.rows("SELECT subject::text, tenant_id, data FROM outbox WHERE type = 'account.deactivated.v1'")
    assert events == [{"subject": person, "tenant_id": None, "data": {"by": "owner"}}]
    [recorded] = await door.rows("SELECT * FROM security_events WHERE kind = 'account_deactivated'")
    assert (str(recorded["account_id"]), recorded["actor_id"], recorded["details"]) == (person, None, {"by": "owner"})
    assert recorded["address"] is not None
    notice = await mailed(mailbox, "Your account was deactivated")
    assert notice["To"] == "ann@example.com"
    assert link_in(notice) == "http://localhost:8000/auth/pages/reactivate"  # the page that mails a link


async def test_the_right_password_alone_learns_of_it(door: Door) -> None:
    await deactivated(door, await door.signed_up("ann", slug="acme"))
    assert problem(await door.login("ann")) == (403, "account_deactivated")
    wrong, unknown = await door.login("ann", "Wrong-word-7"), await door.login("eve", "Wrong-word-7")
    assert problem(wrong) == problem(unknown) == (401, "sign_in_refused")
    assert wrong.json()["detail"] == unknown.json()["detail"]
    reasons = await door.rows("SELECT details FROM security_events WHERE kind = 'sign_in_refused' ORDER BY created_at")
    assert [row["details"].get("reason") for row in reasons] == ["account_deactivated", None, None]


async def test_a_page_says_how_to_come_back(door: Door) -> None:
    await deactivated(door, await door.signed_up("ann", slug="acme"))
    page = await Browser(door).sign_in("ann")
    assert (page.status_code, "The account is deactivated." in page.text) == (403, True)
    assert 'href="/auth/pages/reactivate"' in page.text


async def test_it_takes_a_recent_sign_in_of_the_person(door: Door) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    weak = (await door.login("ann")).json()
    await door.run("UPDATE sessions SET auth_time = auth_time - interval '1 hour'")
    old = (await door.refresh(tokens["refresh_token"])).json()
    assert problem(await deactivate(door, old)) == (401, "insufficient_user_authentication")
    await post(door, "/step-up", old, method="password", password=PASSWORD)
    again = (await door.refresh(old["refresh_token"])).json()
    await add_app(door, again)
    assert problem(await deactivate(door, weak)) == (401, "insufficient_user_authentication")  # by a password alone
    again = (await door.refresh(again["refresh_token"])).json()
    await deactivated(door, again)


async def test_no_client_and_no_tenants_provider_deactivates_an_account(
    door: Door,
) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    client = await registered(door, tokens)
    page = Browser(door)
    await page.sign_in("ann")
    held = (await client.redeem(await code_for(page, client))).json()
    assert problem(await deactivate(door, held)) == (403, "client_not_allowed")
    await door.run("UPDATE sessions SET confined = true WHERE id = :id", id=tokens["session_id"])
    assert problem(await deactivate(door, tokens)) == (403, "session_confined")
    assert (await door.login("ann")).status_code == 200


async def test_of_many_who_deactivate_at_once_one_does(door: Door, mailbox: Mailbox) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    replies = await asyncio.gather(*(deactivate(door, tokens) for _ in range(6)))
    assert sorted(reply.status_code for reply in replies) == [204] + [401] * 5
    await mailbox.received(1)
    assert len(await door.rows("SELECT 1 FROM outbox WHERE type = 'account.deactivated.v1'")) == 1


class TestWhatActsForThePerson:
    """OAuth clients, devices, tickets, links and sign-ins under way refuse after the deactivation."""

    @pytest.fixture
    async def ann(self, door: Door) -> dict[str, Any]:
        return await door.signed_up("ann", slug="acme")

    @pytest.fixture
    async def page(self, door: Door, ann: dict[str, Any]) -> Browser:
        found = Browser(door)
        assert (await found.sign_in("ann")).status_code == 303
        return found

    @pytest.fixture
    async def planner(self, door: Door, ann: dict[str, Any]) -> OAuthClient:
        grants = ["authorization_code", "refresh_token", EXCHANGE, DEVICE_GRANT]
        return await registered(door, ann, grant_types=grants)

    async def test_a_clients_tokens(self, door: Door, ann: dict[str, Any], page: Browser, planner: OAuthClient) -> None:
        scope = "openid offline_access jobs:read"
        held = (await planner.redeem(await code_for(page, planner, scope=scope))).json()
        code = await code_for(page, planner)
        exchange = {"grant_type": EXCHANGE, "subject_token": held["access_token"], **SUBJECT}
        assert (await planner.post("token", exchange)).status_code == 200
        await deactivated(door, ann)
        for token in (held["access_token"], held["refresh_token"], ann["access_token"]):
            assert (await planner.post("introspect", {"token": token})).json() == {"active": False}
        assert problem(await door.client.get("/oauth2/userinfo", headers=door.bearer(held)))[0] == 401
        assert (await planner.refresh(held["refresh_token"])).json()["error"] == "invalid_grant"
        assert (await planner.redeem(code)).json()["error"] == "invalid_grant"
        assert (await planner.post("token", exchange)).json()["error"] == "invalid_request"
        silent = await page.get("/oauth2/authorize", planner.query(prompt="none"))
        assert answer_of(silent)["error"] == "login_required"

    async def test_a_device_that_was_allowed(
        self, door: Door, ann: dict[str, Any], page: Browser, planner: OAuthClient
    ) -> None:
        device = (await planner.post("device_authorization", {"scope": "jobs:read"})).json()
        shown = await page.get("/oauth2/device")
        asked = await page.send("/oauth2/device", {**fields_of(shown.text), "user_code": device["user_code"]})
        allowed = await page.send("/oauth2/device", {**fields_of(asked.text), "decision": "allow"})
        assert allowed.status_code == 303, allowed.text
        await deactivated(door, ann)
        polled = await planner.post("token", {"grant_type": DEVICE_GRANT, "device_code": device["device_code"]})
        assert polled.json()["error"] == "invalid_grant"

    async def test_a_ticket_and_a_link(self, door: Door, ann: dict[str, Any], mailbox: Mailbox) -> None:
        made = await door.client.post("/auth/tickets", json={"path": "/ws"}, headers=door.bearer(ann))
        await door.client.post("/auth/password/reset", json={"email": "ann@example.com"})
        reset = token_in(await mailbox.received(1))
        await deactivated(door, ann)
        body = {"ticket": made.json()["ticket"], "path": "/ws"}
        redeemed = await door.client.post("/internal/tickets/redeem", json=body, headers=door.people.service("gateway"))
        assert problem(redeemed) == (401, "invalid_token")
        assert await door.rows("SELECT 1 FROM links UNION ALL SELECT 1 FROM tickets") == []
        new = {"password": "Other-word-8", "confirm_password": "Other-word-8"}
        refused = await door.client.post("/auth/password/reset/confirm", json={"token": reset, **new})
        assert problem(refused) == (400, "link_invalid")

    async def test_a_sign_in_that_waits_for_its_second_factor(self, door: Door, ann: dict[str, Any]) -> None:
        app, _ = await add_app(door, ann)
        ann = (await door.refresh(ann["refresh_token"])).json()
        waiting = (await door.login("ann")).json()
        await deactivated(door, ann)
        verified = await post(door, "/verify", mfa_token=waiting["mfa_token"], method="totp", code=app.code())
        assert problem(verified) == (401, "mfa_token_invalid")
        assert problem(await door.login("ann")) == (403, "account_deactivated")

    async def test_a_passkey(self, door: Door, ann: dict[str, Any]) -> None:
        device = await add_passkey(door, ann)
        ann = (await door.refresh(ann["refresh_token"])).json()
        await deactivated(door, ann)
        options = (await post(door, "/passkeys/sign-in/options")).json()["options"]
        refused = await post(door, "/passkeys/sign-in", credential=device.get(options))
        assert problem(refused) == (403, "account_deactivated")


async def test_a_mailed_link_reactivates_once(door: Door, mailbox: Mailbox) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    key = await made_key(door, tokens)
    await deactivated(door, tokens)
    assert (await ask(door, "ANN@example.com")).status_code == 202
    mail = await mailed(mailbox, "Reactivate your account")
    assert mail["To"] == "ann@example.com"
    assert (await confirm(door, token_in(mail))).status_code == 204
    await mailed(mailbox, "Your account was reactivated")
    assert problem(await confirm(door, token_in(mail))) == (400, "link_invalid")
    assert (await door.login("ann")).status_code == 200
    assert problem(await door.client.get("/auth/me", headers=door.bearer(tokens))) == (401, "invalid_token")
    assert problem(await door.refresh(tokens["refresh_token"])) == (401, "refresh_refused")
    assert problem(await redeem(door, key)) == (401, "invalid_token")
    events = await door.rows("SELECT data FROM outbox WHERE type = 'account.reactivated.v1'")
    assert events == [{"data": {"by": "owner"}}]
    kinds = [row["kind"] for row in await door.rows("SELECT kind FROM security_events ORDER BY created_at, id")]
    assert [kind for kind in kinds if "activ" in kind] == [
        "account_deactivated",
        "reactivation_requested",
        "account_reactivated",
    ]


async def test_of_many_who_spend_one_link_at_once_one_does(door: Door, mailbox: Mailbox) -> None:
    await deactivated(door, await door.signed_up("ann", slug="acme"))
    await ask(door)
    token = token_in(await mailed(mailbox, "Reactivate your account"))
    replies = await asyncio.gather(*(confirm(door, token) for _ in range(8)))
    assert sorted(reply.status_code for reply in replies) == [204] + [400] * 7


async def test_asking_reveals_nothing(door: Door, mailbox: Mailbox) -> None:
    await deactivated(door, await door.signed_up("ann", slug="acme"))
    await door.signed_up("ben", slug="globex")
    replies = [await ask(door, f"{name}@example.com") for name in ("ann", "ben", "eve")]
    assert [(reply.status_code, reply.content) for reply in replies] == [(202, b"null")] * 3
    await mailbox.received(4)
    strangers = [mail for mail in mailbox.mails if mail["Subject"] == "No account to reactivate"]
    assert {str(mail["To"]) for mail in strangers} == {"ben@example.com", "eve@example.com"}
    assert all("http" not in text_of(mail) for mail in strangers)
    for name in ("ann", "ben", "eve"):
        again = [(await ask(door, f"{name}@example.com")).status_code for _ in range(3)]
        assert again == [202, 202, 429]
    assert problem(await ask(door, "no address")) == (422, "address_unmailable")


async def test_an_account_is_reactivated_by_pages_alone(door: Door, mailbox: Mailbox) -> None:
    await deactivated(door, await door.signed_up("ann", slug="acme"))
    shown = await door.client.get("/auth/pages/reactivate", headers={"Accept-Language": "de"})
    assert "Konto reaktivieren" in shown.text
    asked = await door.client.post("/auth/pages/reactivate", data={"email": "ann@example.com"}, headers=ORIGIN)
    assert (asked.status_code, asked.headers["location"]) == (303, "/auth/pages/reactivate/sent")
    assert "mailbox" in (await door.client.get(asked.headers["location"])).text
    link = link_in(await mailed(mailbox, "Reactivate your account")).removeprefix("http://localhost:8000")
    page, again = await door.client.get(link), await door.client.get(link)  # a scanner opened it first
    assert (page.status_code, page.text) == (200, again.text)
    assert problem(await door.login("ann")) == (403, "account_deactivated")
    done = await door.client.post("/auth/pages/reactivate/confirm", data=fields_of(page.text), headers=ORIGIN)
    assert (done.status_code, done.headers["location"]) == (303, "/auth/pages/reactivated")
    assert "active again" in (await door.client.get(done.headers["location"])).text
    assert (await door.login("ann")).status_code == 200
    spent = await door.client.post("/auth/pages/reactivate/confirm", data=fields_of(page.text), headers=ORIGIN)
    assert (spent.status_code, "was used before" in spent.text, "email" in spent.text) == (400, True, True)


async def test_an_upstream_provider_opens_no_deactivated_account(
    door: Door, root: dict[str, str], issuer: Issuer, browser: UpstreamBrowser
) -> None:
    provider = await registered_provider(door, root, issuer.url, fleet_wide=True)
    person = {"email": "cy@corp.example", "email_verified": True, "preferred_username": "cyd"}
    assert (await browser.sign_in(provider, issuer, "sub-1", **person)).status_code == 303
    await door.run("UPDATE accounts SET status = 'deactivated', deactivated_by = 'owner' WHERE username = 'cyd'")
    refused = await browser.sign_in(provider, issuer, "sub-1", **person)
    assert (refused.status_code, "The account is deactivated." in refused.text) == (403, True)
