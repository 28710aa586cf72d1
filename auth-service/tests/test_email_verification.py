"""Verifying email addresses: an unverified one neither signs in nor blocks its owner."""

import asyncio
from typing import Any

import pytest

from shared.ids import new_id

from .door import PASSWORD, Door, problem
from .mailbox import Mailbox, link_in, text_of, token_in


@pytest.fixture
def settings_values(settings_values: dict[str, Any]) -> dict[str, Any]:
    return settings_values | {"registration": {"verify_email": True}}


async def verify(door: Door, token: str) -> Any:
    return await door.client.post("/auth/verify-email", json={"token": token})


async def request(door: Door, username: str, **more: Any) -> Any:
    body = {"username": username, "password": PASSWORD, **more}
    return await door.client.post("/auth/verify-email/request", json=body)


async def test_an_account_signs_in_once_its_email_is_verified(door: Door, mailbox: Mailbox) -> None:
    registered = await door.register("ann", slug="acme")
    assert (registered.status_code, registered.json()["email"]) == (201, "ann@example.com")
    assert problem(await door.login("ann")) == (403, "email_unverified")
    assert problem(await door.login("ann", "Wrong-word-7")) == (401, "sign_in_refused")
    assert problem(await door.login("ann@example.com")) == (401, "sign_in_refused")
    mail = await mailbox.received(1)
    assert (mail["To"], mail["Subject"]) == ("ann@example.com", "Confirm your email address")
    assert "Hello ann," in text_of(mail)
    assert link_in(mail).startswith("http://localhost:8000/auth/pages/verify-email?token=")
    assert (await verify(door, token_in(mail))).status_code == 204
    assert (await door.login("ann")).status_code == 200
    assert (await door.login("ann@example.com")).status_code == 200
    assert problem(await verify(door, token_in(mail))) == (400, "link_invalid")


async def test_a_link_expires(door: Door, mailbox: Mailbox) -> None:
    await door.register("ann", slug="acme")
    token = token_in(await mailbox.received(1))
    await door.run("UPDATE links SET expires_at = now()")
    assert problem(await verify(door, token)) == (400, "link_invalid")
    assert problem(await verify(door, token[:-1] + "é")) == (400, "link_invalid")


async def test_the_first_account_that_verifies_an_address_keeps_it(door: Door, mailbox: Mailbox) -> None:
    await door.register("mallory", slug="evil", email="ann@example.com")
    await mailbox.received(1)
    assert (await door.register("ann", slug="acme")).status_code == 201
    squatter, owner = mailbox.mails[0], await mailbox.received(2)
    assert (await verify(door, token_in(owner))).status_code == 204
    assert problem(await verify(door, token_in(squatter))) == (400, "link_invalid")
    assert (await door.login("ann@example.com")).status_code == 200
    assert problem(await door.login("mallory")) == (403, "email_unverified")
    # the account is not lost: it asks for another address
    assert (await request(door, "mallory", email="mallory@example.com")).status_code == 202
    assert (await verify(door, token_in(await mailbox.received(3)))).status_code == 204
    assert (await door.login("mallory")).status_code == 200


async def test_of_accounts_that_verify_one_address_at_once_one_gets_it(door: Door, mailbox: Mailbox) -> None:
    for number in range(3):
        await door.register(f"person{number}", slug=f"tenant{number}", email="one@example.com")
        await mailbox.received(number + 1)
    tokens = [token_in(mail) for mail in mailbox.mails]
    replies = await asyncio.gather(*(verify(door, token) for token in tokens))
    assert sorted(reply.status_code for reply in replies) == [204, 400, 400]
    signed_in = [await door.login(f"person{number}") for number in range(3)]
    assert sorted(reply.status_code for reply in signed_in) == [200, 403, 403]


async def test_registering_a_known_address_looks_like_an_unknown_one(door: Door, mailbox: Mailbox) -> None:
    await door.register("ann", slug="acme")
    await verify(door, token_in(await mailbox.received(1)))
    unknown = await door.register("bob", slug="globex")
    await mailbox.received(2)
    known = await door.register("eve", slug="initech", email="ann@example.com")
    mail = await mailbox.received(3)
    assert (known.status_code, known.json().keys()) == (unknown.status_code, unknown.json().keys())
    assert (mail["To"], mail["Subject"]) == ("ann@example.com", "Your email address already has an account")
    assert "token=" not in text_of(mail)
    assert (await door.login("ann@example.com")).status_code == 200


async def test_an_address_changes_once_the_new_one_is_verified(door: Door, mailbox: Mailbox) -> None:
    await door.register("ann", slug="acme")
    await verify(door, token_in(await mailbox.received(1)))
    assert (await request(door, "ann", email="lee@example.com")).status_code == 202
    new = await mailbox.received(2)
    assert new["To"] == "lee@example.com"
    assert (await door.login("ann@example.com")).status_code == 200
    assert (await verify(door, token_in(new))).status_code == 204
    assert (await door.login("lee@example.com")).status_code == 200
    assert problem(await door.login("ann@example.com")) == (401, "sign_in_refused")
    notice = await mailbox.received(3)
    assert (notice["To"], notice["Subject"]) == ("ann@example.com", "Your email address was changed")


async def test_asking_for_a_link_needs_the_password_and_is_limited(door: Door, mailbox: Mailbox) -> None:
    await door.register("ann", slug="acme")
    wrong = {"username": "ann", "password": "Wrong-word-7"}
    refused = await door.client.post("/auth/verify-email/request", json=wrong)
    assert problem(refused) == (401, "sign_in_refused")
    assert len(await door.rows("SELECT 1 FROM sign_in_failures")) == 1
    assert [(await request(door, "ann")).status_code for _ in range(2)] == [202, 202]
    limited = await request(door, "ann")
    assert problem(limited) == (429, "mail_limit_reached")
    assert 0 < int(limited.headers["retry-after"]) <= 3600
    assert problem(await door.register("eve", slug="evil", email="ANN@example.com")) == (429, "mail_limit_reached")
    await mailbox.received(3)
    for mail in mailbox.mails[:1]:  # an early link is still good
        assert (await verify(door, token_in(mail))).status_code == 204


async def test_mails_are_in_the_language_of_the_request(door: Door, mailbox: Mailbox) -> None:
    await door.client.post(
        "/auth/register",
        headers={"Accept-Language": "pt-BR, de-AT;q=0.8, fr;q=0.9, en;q=0.1"},
        json={
            "username": "ann", "email": "ann@example.com", "password": PASSWORD, "confirm_password": PASSWORD,
            "tenant": {"name": "Acme", "slug": "acme"},
        },
    )  # fmt: skip
    assert (await mailbox.received(1))["Subject"] == "Confirmez votre adresse e-mail"


async def test_an_address_that_no_mail_reaches_is_refused(door: Door) -> None:
    reply = await door.register("ann", slug="acme", email="änn@example.com")
    assert problem(reply) == (422, "address_unmailable")
    assert reply.json()["errors"][0]["pointer"] == "#/email"
    assert await door.rows("SELECT 1 FROM accounts") == []


async def test_users_service_asks_whose_an_address_is(door: Door, mailbox: Mailbox) -> None:
    ann = (await door.register("ann", slug="acme")).json()["id"]

    async def is_hers(email: str, user_id: str = ann) -> bool:
        reply = await door.client.post(
            "/internal/verified-emails/check",
            json={"user_id": user_id, "email": email},
            headers=door.people.service("users"),
        )
        assert reply.status_code == 200, reply.text
        found: bool = reply.json()["verified"]
        return found

    assert not await is_hers("ann@example.com")
    await verify(door, token_in(await mailbox.received(1)))
    assert await is_hers("ann@example.com")
    assert await is_hers("Ann@EXAMPLE.com")
    assert not await is_hers("bob@example.com")
    assert not await is_hers("ann@example.com", str(new_id()))
    await door.run("UPDATE accounts SET status = 'deactivated'")
    assert not await is_hers("ann@example.com")


async def test_no_one_else_asks_whose_an_address_is(door: Door) -> None:
    body = {"user_id": str(new_id()), "email": "ann@example.com"}
    for service in ("chat", "tasks", "gateway"):
        reply = await door.client.post(
            "/internal/verified-emails/check", json=body, headers=door.people.service(service)
        )
        assert reply.status_code == 403
