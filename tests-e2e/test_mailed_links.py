"""Mailed links through the gateway: the pages in a browser, and where their secret is not."""

import json
import re
import secrets
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import asyncpg
import pytest
from browser import Page, press
from people import PASSWORD, Town
from pydantic import BaseModel
from redis.asyncio import Redis

from shared.clients import ServiceClient
from shared.dev.launcher.running_fleet import Fleet
from shared.identity.tokens import Signer
from shared.testing import eventually

NEW_PASSWORD = "Other-word-8"
OTHERS = ("users", "chat", "tasks")


async def mailed_to(town: Town, address: str, number: int = 1) -> str:
    """The text of the `number`th mail that the catcher has for the address."""

    async def look() -> str | None:
        caught: list[dict[str, Any]] = (await town.http.get(f"{town.fleet.mail_url}/messages")).json()
        texts = [str(mail["text"]) for mail in caught if mail["to"] == [address]]
        return texts[number - 1] if len(texts) >= number else None

    return await eventually(look, saying=f"mail to {address}") or ""


def link_in(text: str) -> str:
    [link] = re.findall(r"https?://\S+", text)
    return str(link)


async def ask_for_a_link(town: Town, address: str) -> str:
    asked = await town.http.post(f"{town.urls[0]}/auth/password/reset", json={"email": address})
    assert asked.status_code == 202, asked.text
    return link_in(await mailed_to(town, address))


async def test_a_password_is_set_in_a_browser_by_keyboard_alone(town: Town, page: Page, tmp_path: Path) -> None:
    ann = await town.founder()
    await page.send("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
    await page.send("Page.navigate", url=f"{town.urls[0]}/auth/pages/password/reset")
    await page.until("document.activeElement?.id === 'email'")
    address = f"{ann.username}@example.com"
    await page.send("Input.insertText", text=address)
    await press(page, "Enter")
    await page.until("location.pathname === '/auth/pages/password/reset/sent'")

    link = urlsplit(link_in(await mailed_to(town, address)))
    await page.send("Page.navigate", url=f"{town.urls[1]}{link.path}?{link.query}")
    await page.until("document.activeElement?.id === 'password'")
    assert await page.run("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    await page.send("Input.insertText", text=NEW_PASSWORD)
    await press(page, "Tab")
    await page.send("Input.insertText", text=NEW_PASSWORD)
    await press(page, "Tab")
    assert await page.run("document.activeElement?.tagName") == "BUTTON"
    await press(page, "Enter")
    await page.until("location.pathname === '/auth/pages/password-changed'")
    assert page.complaints == []
    assert (await sign_in(town, ann.username, NEW_PASSWORD)).status_code == 200
    assert (await sign_in(town, ann.username, PASSWORD)).status_code == 401


async def sign_in(town: Town, username: str, password: str) -> Any:
    return await town.http.post(f"{town.urls[0]}/auth/login", json={"username": username, "password": password})


@pytest.fixture
async def connections(fleet: Fleet) -> AsyncIterator[dict[str, "asyncpg.Connection[Any]"]]:
    """A connection to the database of every service."""
    opened = {name: await asyncpg.connect(url_of(fleet, name)) for name in ("auth", *OTHERS)}
    yield opened
    for connection in opened.values():
        await connection.close()


def url_of(fleet: Fleet, service: str) -> str:
    """As the superuser, who sees the rows of all tenants."""
    return f"{fleet.backing.database_owner_url}/flotilla_{service}"


async def rows_with(connection: "asyncpg.Connection[Any]", tokens: list[str]) -> list[str]:
    """The tables in which a row, as text, holds one of the tokens."""
    tables = await connection.fetch(
        "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' "
        "AND table_schema NOT IN ('pg_catalog', 'information_schema')"
    )
    found = []
    for schema, table in tables:
        rows = await connection.fetch(f'SELECT t::text AS text FROM "{schema}"."{table}" t')  # noqa: S608 - the catalogue's names
        found += [table for row in rows if any(token in row["text"] for token in tokens)]
    return found


async def places_with(fleet: Fleet, connections: dict[str, "asyncpg.Connection[Any]"], token: str) -> list[str]:
    """Where the fleet holds the token of a link: tables of any service, keys and streams in Valkey, logs."""
    in_bytes = b64decode(token + "=" * (-len(token) % 4), altchars=b"-_").hex()
    found = []
    for name, connection in connections.items():
        found += [f"{name}: {table}" for table in await rows_with(connection, [token, in_bytes])]
    for url in (fleet.backing.redis_url, fleet.backing.bus_url):
        async with Redis.from_url(url) as cache:
            async for key in cache.scan_iter():
                if token.encode() in key or token.encode() in (await cache.dump(key) or b""):
                    found.append(str(key))
    logs = list(fleet.plan.data.rglob("*.log"))
    assert logs
    return found + [str(log) for log in logs if token in log.read_text(encoding="utf-8", errors="replace")]


async def test_the_secret_of_a_link_is_in_the_mail_alone(
    town: Town, fleet: Fleet, connections: dict[str, "asyncpg.Connection[Any]"]
) -> None:
    ann = await town.founder()
    link = await ask_for_a_link(town, f"{ann.username}@example.com")
    [token] = parse_qs(urlsplit(link).query)["token"]
    opened = await town.http.get(town.urls[0] + urlsplit(link).path, params={"token": token})
    assert opened.status_code == 200
    assert await places_with(fleet, connections, token) == []
    body = {"token": token, "password": NEW_PASSWORD, "confirm_password": NEW_PASSWORD}
    confirmed = await town.http.post(f"{town.urls[1]}/auth/password/reset/confirm", json=body)
    assert confirmed.status_code == 204
    assert json.dumps(token) not in confirmed.text
    # the session that was open has ended at both gateways
    for gateway in (0, 1):
        await eventually(lambda at=gateway: _is_ended(ann.at(at)), within_s=2.5)


async def test_the_secret_of_an_operators_link_is_in_the_mail_alone(
    town: Town, fleet: Fleet, connections: dict[str, "asyncpg.Connection[Any]"], page: Page
) -> None:
    ann = await town.founder()
    address = f"{ann.username}@example.com"
    await fleet.command("auth", f"operators add {address}")
    link = urlsplit(link_in(await mailed_to(town, address)))
    [token] = parse_qs(link.query)["token"]
    await page.send("Page.navigate", url=f"{town.urls[0]}{link.path}?{link.query}")
    await page.until("document.activeElement?.id === 'username'")  # it needs a sign-in first
    await page.send("Input.insertText", text=ann.username)
    await press(page, "Tab")
    await page.send("Input.insertText", text=PASSWORD)
    await press(page, "Enter")
    await page.until("location.pathname === '/oauth2/operator' && document.querySelector('button') !== null")
    assert "system:write" not in ann.scopes
    assert await places_with(fleet, connections, token) == []
    await page.run("document.querySelector('button').click()")
    await page.until("location.pathname === '/auth/pages/operator-added'")
    assert page.complaints == []
    signed_in = (await sign_in(town, ann.username, PASSWORD)).json()
    assert "system:write" in signed_in["scope"].split()
    assert await places_with(fleet, connections, token) == []
    await fleet.command("auth", f"operators remove {address}")
    assert "system:write" not in (await sign_in(town, ann.username, PASSWORD)).json()["scope"].split()


class _Invitation(BaseModel):
    """What users-service sends to auth-service."""

    mail_id: UUID
    email: str
    tenant: dict[str, str]
    inviter_name: str
    roles: list[str]
    token: str
    expires_at: str


async def test_the_secret_of_an_invitation_is_in_the_mail_alone(
    town: Town, fleet: Fleet, connections: dict[str, "asyncpg.Connection[Any]"]
) -> None:
    ann, address, token = await town.founder(), f"{uuid4().hex}@example.com", secrets.token_urlsafe(32)
    invitation = _Invitation(
        mail_id=uuid4(),
        email=address,
        tenant={"id": ann.tenant_id, "name": "Acme", "slug": ann.tenant},
        inviter_name=ann.username,
        roles=["user"],
        token=token,
        expires_at="2099-01-31T12:00:00Z",
    )
    signer = Signer.from_file("users", fleet.around.folder.keys / "users.pem")
    users = ServiceClient(fleet.children["auth"].command.url or "", "auth", signer)
    try:
        for _ in range(2):
            await users.send("POST", "/internal/mails/invitation", invitation)
    finally:
        await users.close()
    assert parse_qs(urlsplit(link_in(await mailed_to(town, address))).query)["token"] == [token]
    assert await places_with(fleet, connections, token) == []


async def _is_ended(person: Any) -> bool:
    return (await person.get("/auth/me", None)).status_code == 401
