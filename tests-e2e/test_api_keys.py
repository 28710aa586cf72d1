"""A program comes by an API key: at every service, within its scopes, and no longer than two seconds after its end."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import httpx2
from people import Person, Town

from shared.dev.launcher.running_fleet import Fleet
from shared.testing import eventually

SCOPES = ["profile:read", "profile:write", "chat:read", "chat:write", "jobs:read", "jobs:write"]


@dataclass(frozen=True)
class Program:
    """Sends a key instead of a token."""

    owner: Person
    id: str
    key: str

    @classmethod
    async def of(cls, owner: Person, *scopes: str) -> "Program":
        body = {"name": "a program", "scopes": scopes or SCOPES}
        made = (await owner.post("/auth/api-keys", 201, json=body)).json()
        return cls(owner, made["id"], made["key"])

    async def call(self, method: str, path: str, gateway: int = 0, **options: Any) -> httpx2.Response:
        town = self.owner.town
        return await town.http.request(method, town.urls[gateway] + path, headers={"X-API-Key": self.key}, **options)

    async def statuses(self, *paths: str) -> set[int]:
        """What the paths answer, at every gateway."""
        calls = [self.call("GET", path, gateway) for gateway in range(len(self.owner.town.urls)) for path in paths]
        return {reply.status_code for reply in await asyncio.gather(*calls)}


PATHS = ("/api/v1/profile", "/api/v1/rooms", "/api/v1/jobs")


async def test_a_program_acts_for_its_person_until_the_key_is_revoked(town: Town) -> None:
    ann = await town.founder()
    program, other = await Program.of(ann), await Program.of(ann, "profile:read")
    assert await program.statuses(*PATHS) == {200}
    assert (await program.call("GET", "/api/v1/profile")).json()["user_id"] == ann.id
    room = await program.call("POST", "/api/v1/rooms", json={"kind": "public", "name": "made by a program"})
    assert room.status_code == 201, room.text
    assert (await other.call("GET", "/api/v1/rooms")).status_code == 403
    assert (await program.call("GET", "/auth/sessions")).json()["code"] == "api_key_not_allowed"
    await ann.call("DELETE", f"/auth/api-keys/{program.id}", 204)
    revoked_at = time.monotonic()

    async def refused() -> bool:
        return await program.statuses(*PATHS) == {401}

    await eventually(refused, within_s=2, saying="both gateways refuse the key")
    assert time.monotonic() - revoked_at < 2
    assert await other.statuses("/api/v1/profile") == {200}


async def test_a_key_follows_its_persons_roles_and_ends_with_the_membership(town: Town) -> None:
    ann = await town.founder()
    ben = await town.member(ann, "admin")
    program = await Program.of(ben, "tenant:read", "profile:read")
    path = f"/api/v1/tenants/{ann.tenant_id}/members"
    assert await program.statuses(path, "/api/v1/profile") == {200}
    await ann.call("PUT", f"{path}/{ben.id}", 200, json={"roles": ["user"]})

    async def demoted() -> bool:
        return await program.statuses(path) == {403}

    await eventually(demoted, within_s=2, saying="the key has the scopes of a user")
    assert await program.statuses("/api/v1/profile") == {200}
    await ann.call("DELETE", f"{path}/{ben.id}", 204)

    async def refused() -> bool:
        return await program.statuses("/api/v1/profile") == {401}

    await eventually(refused, within_s=2, saying="the key ended with the membership")


async def test_what_happened_is_in_the_audit_trail_which_verifies(town: Town, fleet: Fleet) -> None:
    ann = await town.founder()
    program = await Program.of(ann)
    await ann.call("DELETE", f"/auth/api-keys/{program.id}", 204)
    kinds = [event["kind"] for event in await ann.all_of("/auth/audit")]
    assert kinds[:2] == ["api_key_revoked", "api_key_created"]
    await fleet.command("auth", "audit verify")
