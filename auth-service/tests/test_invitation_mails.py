"""Invitation mails, which users-service asks for: one for each id, and only this service's link in it."""

import asyncio
from typing import Any

import pytest

from shared.ids import new_id

from .door import Door, Reply, problem
from .mailbox import Mailbox, link_in, text_of

TOKEN = "kq3mZ0wXr5yTb8nVc2LpHd-_secret"


def invitation(**changes: Any) -> dict[str, Any]:
    tenant = {"id": str(new_id()), "name": "Acme & Söhne", "slug": "acme"} | changes.pop("tenant", {})
    return {
        "mail_id": str(new_id()),
        "email": "bob@example.com",
        "tenant": tenant,
        "inviter_name": "Ann O'Hara",
        "roles": ["analyst", "user"],
        "token": TOKEN,
        "expires_at": "2099-01-31T12:00:00+01:00",
    } | changes


async def ask(door: Door, body: dict[str, Any], *, service: str = "users") -> Reply:
    return await door.client.post("/internal/mails/invitation", json=body, headers=door.people.service(service))


async def test_an_invitation_is_mailed_with_a_link_of_this_fleet(
    door: Door, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    reply = await ask(door, invitation())
    assert (reply.status_code, reply.content) == (202, b"null")
    mail = await mailbox.received(1)
    assert (mail["To"], mail["Subject"]) == ("bob@example.com", "You are invited")
    assert mail.get_content_type() == "text/plain"
    assert link_in(mail) == f"http://localhost:8000/auth/pages/invitation?token={TOKEN}"
    shown = text_of(mail)
    assert "Ann O'Hara invites you to join Acme & Söhne (acme) at Flotilla, with the roles: analyst, user." in shown
    assert "2099-01-31 11:00 UTC" in shown
    assert TOKEN not in caplog.text
    [row] = await door.rows("SELECT mails::text AS text, sealed FROM mails")
    assert row["sealed"] is None
    assert TOKEN not in row["text"]


async def test_a_repeated_call_sends_one_mail(door: Door, mailbox: Mailbox) -> None:
    body = invitation()
    replies = await asyncio.gather(*(ask(door, body) for _ in range(8)))
    assert {reply.status_code for reply in replies} == {202}
    await mailbox.received(1)
    assert (await ask(door, body)).status_code == 202
    assert len(await door.rows("SELECT 1 FROM mails")) == 1


async def test_an_address_gets_three_in_an_hour_and_a_repeat_counts_once(door: Door) -> None:
    bodies = [invitation(email=email) for email in ("bob@example.com", "Bob@example.com", "bob@EXAMPLE.com")]
    for body in [*bodies, *bodies]:
        assert (await ask(door, body)).status_code == 202
    refused = await ask(door, invitation())
    assert problem(refused) == (429, "mail_limit_reached")
    assert 0 < int(refused.headers["retry-after"]) <= 3600
    assert (await ask(door, bodies[0])).status_code == 202
    assert (await ask(door, invitation(email="cy@example.com"))).status_code == 202


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("https://evil.example/login", "https: //evil. example/login"),
        ("Visit evil.example now", "Visit evil. example now"),
        ("evil\u3002example", "evil\u3002 example"),
        ("help@evil", "help@ evil"),
        ("javascript:alert(1)", "javascript: alert(1)"),
        ("<a href='//evil'>here</a>", "<a href='//evil'>here</a>"),
        ("{link} {0} %s", "{link} {0} %s"),
        ("J. R. AC/DC 10:30", "J. R. AC/DC 10:30"),
    ],
)
async def test_a_name_is_text_of_which_no_mail_program_makes_a_link(
    door: Door, mailbox: Mailbox, name: str, shown: str
) -> None:
    assert (await ask(door, invitation(inviter_name=name, tenant={"name": name}))).status_code == 202
    mail = await mailbox.received(1)
    assert f"{shown} invites you to join {shown} (acme) at" in text_of(mail)
    assert mail.get_content_type() == "text/plain"


async def test_the_mail_is_in_the_language_asked_for(door: Door, mailbox: Mailbox) -> None:
    assert (await ask(door, invitation(locale="fr-CA"))).status_code == 202
    assert (await mailbox.received(1))["Subject"] == "Vous êtes invité"


@pytest.mark.parametrize(
    "changes",
    [
        {"inviter_name": "Ann\r\nBcc: eve@example.com"},
        {"tenant": {"name": "Acme\nBcc: eve@example.com"}},
        {"tenant": {"name": "\u202eAcme"}},
        {"tenant": {"slug": "acme/../x"}},
        {"tenant": {"link": "https://evil.example"}},
        {"email": "bob@example.com\r\nBcc: eve@example.com"},
        {"email": "bob"},
        {"email": "jürgen@example.com"},
        {"token": TOKEN + "&x=1"},
        {"token": "short"},
        {"roles": []},
        {"roles": ["https://evil.example"]},
        {"inviter_name": "x" * 201},
        {"locale": "en\r\nX: y"},
        {"link": "https://evil.example"},
        {"expires_at": "tomorrow"},
    ],
    ids=str,
)
async def test_what_does_not_fit_is_refused(door: Door, changes: dict[str, Any]) -> None:
    refused = await ask(door, invitation(**changes))
    assert refused.status_code == 422
    assert TOKEN not in refused.text
    assert await door.rows("SELECT 1 FROM mails") == []


async def test_only_users_service_may_ask(door: Door) -> None:
    for service in ("chat", "tasks", "gateway"):
        assert (await ask(door, invitation(), service=service)).status_code == 403
    person = door.bearer(await door.signed_up("ann", slug="acme"))
    assert (await door.client.post("/internal/mails/invitation", json=invitation(), headers=person)).status_code == 403
    assert (await door.client.post("/internal/mails/invitation", json=invitation())).status_code == 401
