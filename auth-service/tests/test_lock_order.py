"""Requests that end an account's sessions and codes beside those that use them: none waits for another in a circle."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Select, select

from auth_service.account_operations.flow import AccountOperations, CannotDo
from auth_service.accounts.models import Account
from auth_service.keyring import Keyring
from auth_service.mails.service import Mails
from auth_service.memberships.models import Membership, Tenant
from auth_service.sessions.models import Session
from auth_service.settings import AuthSettings
from shared.testing import eventually
from shared.testing.fakes import FakeUsers

from .door import PASSWORD, Door, Reply, claims_of, new_password, problem
from .mailbox import Mailbox, token_in
from .oauth import DEVICE_GRANT, Browser, OAuthClient, code_for, fields_of, registered
from .test_deactivation import ask, confirm, deactivate, deactivated, mailed
from .test_impersonation import REASON, impersonate, operator_id, received, tenant_reported

AT_ONCE = 10
ACCOUNTS = select(Account.id)


@pytest.fixture
def operations(door: Door, settings: AuthSettings) -> AccountOperations:
    """What `python -m auth_service accounts` does."""
    mails = Mails(Keyring.load(settings.keys), settings.mails, "en")
    return AccountOperations(door.database, mails, settings, None)


@asynccontextmanager
async def held(door: Door, rows: Select[Any] = ACCOUNTS) -> AsyncIterator[Callable[[int], Awaitable[object]]]:
    """The rows are locked for the length of the block; call what it gives to wait for so many who wait."""

    async def waiting(number: int) -> bool:
        rows = await door.rows("SELECT count(*) AS n FROM pg_locks WHERE NOT granted")
        return bool(rows[0]["n"] >= number)

    async with door.database.transaction(role="fleet") as db:
        await db.execute(rows.with_for_update())
        yield lambda number: eventually(lambda: waiting(number), saying=f"{number} wait for a lock")


async def in_turn(door: Door, *requests: Awaitable[Any], rows: Select[Any] = ACCOUNTS) -> Sequence[Any]:
    """The answers to requests that wait for the rows in this order, and get them one after the other."""
    async with held(door, rows) as waiting:
        started = []
        for request in requests:
            started.append(asyncio.ensure_future(request))
            await waiting(len(started))
    return await asyncio.gather(*started)


@pytest.fixture
async def ann(door: Door) -> dict[str, Any]:
    return await door.signed_up("ann", slug="globex")


@pytest.fixture
async def page(door: Door, ann: dict[str, Any]) -> Browser:
    found = Browser(door)
    assert (await found.sign_in("ann")).status_code == 303
    return found


@pytest.fixture
async def planner(door: Door, ann: dict[str, Any]) -> OAuthClient:
    grants = ["authorization_code", "refresh_token", DEVICE_GRANT]
    return await registered(door, ann, grant_types=grants)


async def test_a_code_is_redeemed_while_its_account_is_deactivated(
    door: Door, ann: dict[str, Any], page: Browser, planner: OAuthClient
) -> None:
    code = await code_for(page, planner)
    ended, refused = await in_turn(door, deactivate(door, ann), planner.redeem(code))
    assert (ended.status_code, refused.json().get("error")) == (204, "invalid_grant")


async def test_a_code_is_replayed_while_its_account_is_deactivated(
    door: Door, ann: dict[str, Any], page: Browser, planner: OAuthClient
) -> None:
    code = await code_for(page, planner)
    assert (await planner.redeem(code)).status_code == 200
    ended, refused = await in_turn(door, deactivate(door, ann), planner.redeem(code))
    assert (ended.status_code, refused.json().get("error")) == (204, "invalid_grant")


async def test_a_device_polls_while_its_account_is_deactivated(
    door: Door, ann: dict[str, Any], page: Browser, planner: OAuthClient
) -> None:
    device = (await planner.post("device_authorization", {"scope": "jobs:read"})).json()
    shown = await page.get("/oauth2/device")
    asked = await page.send("/oauth2/device", {**fields_of(shown.text), "user_code": device["user_code"]})
    allowed = await page.send("/oauth2/device", {**fields_of(asked.text), "decision": "allow"})
    assert allowed.status_code == 303, allowed.text
    poll = {"grant_type": DEVICE_GRANT, "device_code": device["device_code"]}
    ended, refused = await in_turn(door, deactivate(door, ann), planner.post("token", poll))
    assert (ended.status_code, refused.json().get("error")) == (204, "invalid_grant")


async def test_an_operator_deactivates_what_its_owner_reactivates(
    door: Door, ann: dict[str, Any], mailbox: Mailbox, operations: AccountOperations
) -> None:
    await deactivated(door, ann)
    await ask(door)
    token = token_in(await mailed(mailbox, "Reactivate your account"))
    _, refused = await in_turn(door, operations.deactivate("ann", REASON), confirm(door, token))
    assert problem(refused) == (400, "link_invalid")
    found = await door.rows("SELECT status, deactivated_by FROM accounts")
    assert found == [{"status": "deactivated", "deactivated_by": "operator"}]


async def test_of_two_operators_who_deactivate_an_account_one_does(
    door: Door, ann: dict[str, Any], operations: AccountOperations
) -> None:
    async def deactivation() -> str:
        try:
            await operations.deactivate("ann", REASON)
        except CannotDo:
            return "nothing was done"
        return "done"

    assert await in_turn(door, deactivation(), deactivation()) == ["done", "nothing was done"]


async def test_of_links_that_reset_a_password_at_once_one_does(
    door: Door, ann: dict[str, Any], mailbox: Mailbox
) -> None:
    """Each spends its own link, and makes the others invalid."""
    for _ in range(3):
        asked = await door.client.post("/auth/password/reset", json={"email": "ann@example.com"})
        assert asked.status_code == 202
    await mailbox.received(3)
    bodies = [{"token": token_in(mail), **new_password("Other-word-8")} for mail in mailbox.mails]
    resets = (door.client.post("/auth/password/reset/confirm", json=body) for body in bodies)
    replies = await asyncio.gather(*resets)
    assert sorted(reply.status_code for reply in replies) == [204, 400, 400], [reply.text for reply in replies]


async def test_an_address_is_verified_while_its_account_is_deactivated(
    door: Door, ann: dict[str, Any], mailbox: Mailbox
) -> None:
    await door.run("UPDATE accounts SET unverified_email = 'new@example.com'")
    wanted = {"username": "ann", "password": PASSWORD, "email": "new@example.com"}
    asked = await door.client.post("/auth/verify-email/request", json=wanted)
    assert asked.status_code == 202, asked.text
    token = token_in(await mailbox.received(1))
    verified = door.client.post("/auth/verify-email", json={"token": token})
    ended, refused = await in_turn(door, deactivate(door, ann), verified)
    assert (ended.status_code, problem(refused)) == (204, (400, "link_invalid"))


async def test_a_consent_is_withdrawn_while_its_account_is_erased(
    door: Door, ann: dict[str, Any], page: Browser, planner: OAuthClient, operations: AccountOperations
) -> None:
    assert (await planner.redeem(await code_for(page, planner))).status_code == 200
    [consent] = (await door.client.get("/oauth2/consents", headers=door.bearer(ann))).json()["items"]
    withdrawal = door.client.delete(f"/oauth2/consents/{consent['id']}", headers=door.bearer(ann))
    erased, refused = await in_turn(door, operations.erase("ann"), withdrawal, rows=select(Session.id))
    assert (str(erased), problem(refused)) == (claims_of(ann)["sub"], (404, "consent_not_found"))


@pytest.mark.parametrize("what_ends", ["membership", "tenant"])
async def test_an_impersonation_begins_while_its_operators_role_ends(
    door: Door, ann: dict[str, Any], root: dict[str, str], users: FakeUsers, what_ends: str
) -> None:
    """The role ends when the operator was already looked up, and before the session is written."""
    operator, acme = await operator_id(door), users.tenants["acme"]
    asked, answered = asyncio.Event(), asyncio.Event()

    async def at_the_second_question() -> None:
        asked.set()
        await answered.wait()

    async def at_the_first_question() -> None:
        users.before_answer = at_the_second_question

    users.before_answer = at_the_first_question
    body = {"user_id": claims_of(ann)["sub"], "tenant": "globex", "reason": REASON}
    beginning = asyncio.ensure_future(impersonate(door, root, body))
    await asked.wait()
    if what_ends == "membership":
        rows: Select[Any] = select(Membership.id).where(Membership.user_id == UUID(operator))
        end = received(door, acme["id"], operator, "membership.revoked", roles=[], status="ended")
    else:
        rows = select(Tenant.id).where(Tenant.id == UUID(acme["id"]))
        end = tenant_reported(door, acme, "tenant.suspended", "suspended")
    async with held(door, rows) as waiting:
        ending = asyncio.ensure_future(end)
        await waiting(1)
        answered.set()
        await waiting(2)
    await ending
    refused = {"membership": (401, "invalid_token"), "tenant": (403, "insufficient_scope")}
    assert problem(await beginning) == refused[what_ends]


async def test_deactivations_beside_redemptions_and_refreshes(
    door: Door, ann: dict[str, Any], page: Browser, planner: OAuthClient, operations: AccountOperations
) -> None:
    """Whatever wins, each is answered as if it were alone, and nothing that was opened outlives the deactivation."""
    for _ in range(3):
        refresh_tokens = [
            (await planner.redeem(await code_for(page, planner, scope="offline_access jobs:read"))).json()
            for _ in range(AT_ONCE)
        ]
        redemptions = [planner.redemption(await code_for(page, planner)) for _ in range(AT_ONCE)]
        requests: list[Awaitable[Reply]] = [planner.post("token", form) for form in redemptions]
        requests += [planner.refresh(held["refresh_token"]) for held in refresh_tokens]
        half = len(requests) // 2
        ending = deactivate(door, ann)
        replies = await asyncio.gather(*requests[::2], ending, *requests[1::2])
        ended = replies.pop(half)
        assert ended.status_code == 204, ended.text
        assert {(reply.status_code, reply.json().get("error")) for reply in replies} <= {
            (200, None),
            (400, "invalid_grant"),
        }
        assert await door.rows("SELECT 1 FROM sessions WHERE ended_at IS NULL") == []
        await operations.reactivate("ann", REASON)
        ann = (await door.login("ann")).json()
        await page.sign_in("ann")
