"""People who use the fleet as clients do: a session each, over either gateway."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import uuid4

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from shared.dev.launcher.running_fleet import Fleet
from shared.testing import eventually

PASSWORD = "Correct-Horse-7"


@dataclass
class Person:
    """Someone signed in to one tenant. `gateway` is the one of the fleet's gateways that they use."""

    town: "Town"
    username: str
    id: str
    tenant: str
    tenant_id: str
    gateway: int = 0
    tokens: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens['access_token']}"}

    @property
    def scopes(self) -> list[str]:
        return str(self.tokens["scope"]).split()

    def at(self, gateway: int) -> "Person":
        """The same session through another gateway."""
        return Person(self.town, self.username, self.id, self.tenant, self.tenant_id, gateway, self.tokens)

    async def call(self, method: str, path: str, wanted: int | None = None, **options: Any) -> httpx2.Response:
        """One request; where a status is wanted, any other fails the test with the answer."""
        headers = self.headers | options.pop("headers", {})
        reply = await self.town.http.request(method, self.town.urls[self.gateway] + path, headers=headers, **options)
        if wanted is not None:
            assert reply.status_code == wanted, f"{method} {path}: {reply.status_code} {reply.text[:500]}"
        return reply

    async def get(self, path: str, wanted: int | None = 200, **options: Any) -> httpx2.Response:
        return await self.call("GET", path, wanted, **options)

    async def post(self, path: str, wanted: int | None = None, **options: Any) -> httpx2.Response:
        return await self.call("POST", path, wanted, **options)

    async def upload(self, name: str, content: bytes, content_type: str = "text/csv") -> dict[str, Any]:
        return dict((await self.post("/api/v1/files", 201, files={"file": (name, content, content_type)})).json())

    async def start_job(self, kind: str, **input: Any) -> str:  # noqa: A002 - the field's name
        """The id of a job just accepted."""
        return str((await self.post("/api/v1/jobs", 202, json={"kind": kind, "input": input})).json()["id"])

    async def job_ended(self, job_id: str, within_s: float = 30) -> dict[str, Any]:
        """The job, once it is completed, failed or cancelled."""

        async def look() -> dict[str, Any] | None:
            job = dict((await self.get(f"/api/v1/jobs/{job_id}")).json())
            return job if job["status"] in ("completed", "failed", "cancelled") else None

        job = await eventually(look, within_s=within_s, every_s=0.1, saying=f"job {job_id} ended")
        return job or {}

    async def all_of(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """Every item of a list, page after page."""
        items: list[dict[str, Any]] = []
        more: dict[str, Any] = {"limit": 200, **query}
        while more.get("cursor", "") is not None:
            page = (await self.get(path, params=more)).json()
            items += page["users"] if "users" in page else page["items"]
            more["cursor"] = page["next_cursor"]
        return items

    async def told_of(self, job_id: str) -> list[dict[str, Any]]:
        """Every event of the job since its beginning, with its `event` name; the job has ended."""
        page = (await self.get(f"/api/v1/jobs/{job_id}/events", headers={"Last-Event-ID": "0"})).text
        events = [
            dict(line.split(": ", 1) for line in part.splitlines() if ": " in line) for part in page.split("\n\n")
        ]
        read = [json.loads(one["data"]) | {"event": one["event"]} for one in events if "data" in one]
        return list(read)

    async def notified(self, job_id: str, within_s: float = 30) -> dict[str, Any]:
        """The notification of the job's end, once it is there."""

        async def look() -> list[dict[str, Any]]:
            return [one for one in await self.all_of("/api/v1/notifications") if one["data"].get("job_id") == job_id]

        told = await eventually(look, within_s=within_s, every_s=0.1, saying=f"told of job {job_id}")
        return dict(told[0])

    async def refused(self) -> bool:
        """Whether this session's token is refused at every gateway, by the services as by the gateway itself."""
        paths = ("/auth/me", "/api/v1/profile", "/api/v1/job-kinds", "/api/v1/rooms")
        asked = [self.at(number).get(path, None) for number in range(len(self.town.urls)) for path in paths]
        return all(reply.status_code == 401 for reply in await asyncio.gather(*asked))

    async def room(self, kind: str = "public", **more: Any) -> str:
        body = {"kind": kind, **({} if kind == "direct" else {"name": f"room-{uuid4().hex[:8]}"}), **more}
        return str((await self.post("/api/v1/rooms", 201, json=body)).json()["id"])

    @asynccontextmanager
    async def socket(self) -> AsyncIterator["Socket"]:
        """A chat connection that was welcomed."""
        url = urlsplit(self.town.urls[self.gateway])._replace(scheme="ws", path="/ws").geturl()
        protocol = Subprotocol("flotilla.v1")
        async with connect(url, subprotocols=[protocol], additional_headers=self.headers, open_timeout=15) as wire:
            socket = Socket(wire)
            await socket.next("welcome")
            yield socket


class Socket:
    """Frames of one connection: everything that came is kept, so that a test can say what must not have come."""

    def __init__(self, wire: ClientConnection) -> None:
        self.wire = wire
        self.frames: list[dict[str, Any]] = []
        self._returned: set[int] = set()

    async def send(self, **frame: Any) -> None:
        await self.wire.send(json.dumps(frame))

    async def next(self, of_type: str, /, within_s: float = 15, **fields: Any) -> dict[str, Any]:
        """The first frame of this type with these fields that was not returned before, waiting for it."""
        looked = 0
        async with asyncio.timeout(within_s):
            while True:
                for index in range(looked, len(self.frames)):
                    frame = self.frames[index]
                    fits = frame["type"] == of_type and all(frame.get(key) == value for key, value in fields.items())
                    if fits and index not in self._returned:
                        self._returned.add(index)
                        return frame
                looked = len(self.frames)
                await self.read()

    async def read(self) -> dict[str, Any]:
        """The next frame off the wire."""
        frame: dict[str, Any] = json.loads(await self.wire.recv())
        self.frames.append(frame)
        return frame

    async def subscribe(self, room_id: str, **after: Any) -> dict[str, Any]:
        await self.send(type="subscribe", room_id=room_id, **after)
        return await self.next("subscribed", room_id=room_id)

    async def say(self, room_id: str, text: str) -> dict[str, Any]:
        """Send a message; its ack."""
        client_id = uuid4().hex
        await self.send(type="send", room_id=room_id, text=text, client_id=client_id)
        return await self.next("ack", client_id=client_id)

    async def closed(self, within_s: float = 15) -> int | None:
        """The code of the close, waiting for it; frames that came before it are kept."""
        async with asyncio.timeout(within_s):
            with suppress(ConnectionClosed):
                while True:
                    await self.read()
        return self.wire.close_code

    def messages(self, room_id: str) -> list[tuple[int, str]]:
        """(seq, text) of the room's messages in the order in which they came."""
        return [
            (one["seq"], one["text"]) for one in self.frames if one["type"] == "message" and one["room_id"] == room_id
        ]


_operators: dict[str, Person] = {}
"""Each fleet's operator, by the URL of its first gateway."""


@dataclass
class Town:
    """The people of one fleet."""

    fleet: Fleet
    http: httpx2.AsyncClient
    _operator: Person | None = None

    @classmethod
    @asynccontextmanager
    async def of(cls, fleet: Fleet) -> AsyncIterator[Self]:
        async with httpx2.AsyncClient(timeout=30) as http:
            yield cls(fleet, http)

    @property
    def urls(self) -> list[str]:
        return self.fleet.gateway_urls

    async def founder(self, tier: str = "enterprise") -> Person:
        """Someone new who founded a tenant of this tier, signed in as its admin."""
        name = f"f{secrets.token_hex(5)}"
        made = await self._register(name, tenant={"name": f"Tenant {name}", "slug": name})
        person = Person(self, name, made["id"], name, made["tenant"]["id"])
        if tier != "free":
            await self.set_tenant(person.tenant_id, tier=tier)
        await eventually(lambda: self._signed_in(person, tier), within_s=20, saying=f"{name} is of tier {tier}")
        return person

    async def member(self, founder: Person, *roles: str) -> Person:
        """Someone new in the founder's tenant, signed in."""
        name = f"m{secrets.token_hex(5)}"
        made = await self._register(name)
        await founder.call(
            "PUT",
            f"/api/v1/tenants/{founder.tenant_id}/members/{made['id']}",
            201,
            json={"roles": list(roles) or ["user"]},
        )
        person = Person(self, name, made["id"], founder.tenant, founder.tenant_id)
        await self.sign_in(person)
        return person

    async def sign_in(self, person: Person) -> None:
        """A new session of the person's own; the membership may still be on its way."""
        await eventually(lambda: self._signed_in(person, None), within_s=20, saying=f"{person.username} signs in")

    async def refresh(self, refresh_token: str, gateway: int = 0) -> httpx2.Response:
        return await self.http.post(f"{self.urls[gateway]}/auth/refresh", json={"refresh_token": refresh_token})

    async def set_tenant(self, tenant_id: str, **fields: Any) -> None:
        """As the operator of the fleet."""
        await (await self.operator()).call("PATCH", f"/api/v1/tenants/{tenant_id}", 200, json=fields)

    async def operator(self) -> Person:
        """The fleet's operator, signed in for this test; the first test makes one."""
        if self._operator is None:
            if (known := _operators.get(self.urls[0])) is None:
                known = await self.founder(tier="free")
                await self.fleet.command("users", f"operators grant {known.tenant} {known.username}")
                _operators[self.urls[0]] = known
            self._operator = Person(self, known.username, known.id, known.tenant, known.tenant_id)
            await eventually(self._operates, within_s=20, saying="the operator signs in with every scope")
        return self._operator

    async def _operates(self) -> bool:
        """The role may still be on its way to auth-service."""
        operator = self._operator
        return operator is not None and await self._signed_in(operator, None) and "system:write" in operator.scopes

    async def _register(self, name: str, **more: Any) -> dict[str, Any]:
        body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD, "confirm_password": PASSWORD}
        reply = await self.http.post(f"{self.urls[0]}/auth/register", json={**body, **more})
        assert reply.status_code == 201, reply.text
        return dict(reply.json())

    async def _signed_in(self, person: Person, tier: str | None) -> bool:
        body = {"username": person.username, "password": PASSWORD, "tenant": person.tenant}
        reply = await self.http.post(f"{self.urls[person.gateway]}/auth/login", json=body)
        if reply.status_code != 200:
            return False
        person.tokens = reply.json()
        return tier is None or (await person.get("/auth/me")).json()["tenant"]["tier"] == tier
