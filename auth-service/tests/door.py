"""The public paths as clients use them, the gateway's part of it done here: an access token becomes an internal one."""

from dataclasses import dataclass
from typing import Any

import httpx2
import jwt
from sqlalchemy import text

from shared.data.database import Database
from shared.identity import Principal
from shared.testing import People

PASSWORD = "Sail-away-7"

Reply = httpx2.Response


@dataclass(frozen=True)
class Door:
    client: httpx2.AsyncClient
    people: People
    database: Database

    async def register(self, username: str, *, slug: str | None = None, **changes: Any) -> Reply:
        tenant = {"name": slug.title(), "slug": slug} if slug else None
        body: dict[str, Any] = {"username": username, "email": f"{username}@example.com", "password": PASSWORD}
        body |= {"confirm_password": body["password"], "tenant": tenant}
        return await self.client.post("/auth/register", json=body | changes)

    async def login(self, username: str, password: str = PASSWORD, **more: Any) -> Reply:
        headers = more.pop("headers", {})
        body = {"username": username, "password": password, **more}
        return await self.client.post("/auth/login", json=body, headers=headers)

    async def refresh(self, refresh_token: str) -> Reply:
        return await self.client.post("/auth/refresh", json={"refresh_token": refresh_token})

    async def signed_up(self, username: str, *, slug: str | None = None) -> dict[str, Any]:
        """Registers and signs in; the sign-in's body."""
        registered = await self.register(username, slug=slug)
        assert registered.status_code == 201, registered.text
        reply = await self.login(username)
        assert reply.status_code == 200, reply.text
        body: dict[str, Any] = reply.json()
        return body

    def bearer(self, tokens: dict[str, Any]) -> dict[str, str]:
        """What the gateway sends on for the access token of these tokens."""
        return self.people.headers(self.people.signer("gateway").forward(principal_of(tokens), "auth"))

    def sent_from(self, address: str) -> dict[str, str]:
        """What the gateway adds for a client at that address."""
        return {"X-Client-Address": self.people.signer("gateway").sign_address(address, "auth")}

    async def rows(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        """What the database says."""
        async with self.database.transaction() as db:
            return [dict(row._mapping) for row in await db.execute(text(sql), values)]

    async def run(self, sql: str, **values: Any) -> None:
        """Change the database, such as a time in it."""
        async with self.database.transaction() as db:
            await db.execute(text(sql), values)

    async def a_minute_passes(self) -> None:
        """Since users-service was last asked about anybody."""
        async with self.database.transaction(role="fleet") as db:
            await db.execute(text("UPDATE memberships SET checked_at = checked_at - interval '61 seconds'"))


def new_password(word: str) -> dict[str, str]:
    """The fields of a registration with this password."""
    return {"password": word, "confirm_password": word}


def claims_of(tokens: dict[str, Any]) -> dict[str, Any]:
    """The access token's claims, unverified."""
    claims: dict[str, Any] = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    return claims


def principal_of(tokens: dict[str, Any]) -> Principal:
    return Principal.from_claims(claims_of(tokens))


def problem(reply: Reply) -> tuple[int, str]:
    """Status and code of a refusal."""
    assert reply.headers["content-type"] == "application/problem+json", reply.text
    return reply.status_code, reply.json()["code"]
