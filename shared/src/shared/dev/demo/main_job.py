"""The main job, walked through the gateway as clients do: a line per step with its time, as it happens.

The gateway is on this machine: a proxy that the environment names is not asked for it.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

WAIT_S: Final = 30.0  # for anything that arrives by itself
REFUSED_S: Final = 2.0  # what the fleet promises of a session's end
_CSV: Final = "city,boats,length_m\nKiel,12,9.5\nBremen,7,11.2\nHusum,3,8.1\nEmden,9,10.4\n"


class WalkFailed(Exception):
    """A step of the main job went wrong; the message has the step, the answer and the request id."""


@dataclass
class Person:
    """Someone who signs in."""

    username: str
    password: str
    token: str = field(default="", repr=False)
    id: str = ""

    @property
    def email(self) -> str:
        return f"{self.username}@example.com"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


class Walk:
    """One walk: Ann founds a tenant, Bob joins, they chat, Ann has a file profiled and signs out."""

    def __init__(self, gateway_url: str, say: Callable[[str], None], *, tenant: str, tenant_name: str) -> None:
        self._url, self._say = gateway_url, say
        self._tenant, self._tenant_name, self.tenant_id = tenant, tenant_name, ""
        self._http = httpx2.AsyncClient(base_url=gateway_url, timeout=WAIT_S, trust_env=False)
        self._steps = 0

    async def main_job(self, ann: Person, bob: Person) -> None:
        """All of it. Raises WalkFailed."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._http.aclose)
            await self.sign_up(ann, bob)
            await self._read_and_change_profile(ann)
            sockets = [await stack.enter_async_context(self._socket(person)) for person in (ann, bob)]
            await self._chat(ann, bob, *sockets)
            await self._profile_a_file(ann, sockets[0])
            await self._sign_out(ann, sockets[0])

    async def sign_up(self, ann: Person, bob: Person) -> None:
        """A tenant and two people, both signed in."""
        async with self._step(f"{ann.username} signs up with a new tenant, {self._tenant}"):
            reply = await self._register(ann, tenant={"name": self._tenant_name, "slug": self._tenant})
            ann.id, self.tenant_id = reply["id"], reply["tenant"]["id"]
        async with self._step(f"{bob.username} signs up"):
            bob.id = (await self._register(bob))["id"]
        async with self._step(f"{ann.username} signs in and adds {bob.username} to the tenant"):
            await self._sign_in(ann)
            path = f"/api/v1/tenants/{self.tenant_id}/members/{bob.id}"
            await self._call("PUT", path, (200, 201), ann, json={"roles": ["user"]})
        async with self._step(f"{bob.username} signs in to {self._tenant}"):
            await self._sign_in(bob)

    async def _register(self, person: Person, **more: Any) -> Any:
        body = {"username": person.username, "email": person.email, "password": person.password, **more}
        return (
            await self._call("POST", "/auth/register", 201, json={**body, "confirm_password": person.password})
        ).json()

    async def _sign_in(self, person: Person) -> None:
        """Names the tenant, which also accepts an invitation to it; the membership may still be on its way to auth."""
        body = {"username": person.username, "password": person.password, "tenant": self._tenant}
        until = time.monotonic() + WAIT_S
        while True:
            reply = await self._http.post("/auth/login", json=body)
            if reply.status_code == 200:
                person.token = reply.json()["access_token"]
                return
            if reply.status_code not in (401, 403) or time.monotonic() > until:
                raise WalkFailed(_described("POST", "/auth/login", reply))
            await asyncio.sleep(0.2)

    async def _read_and_change_profile(self, ann: Person) -> None:
        async with self._step(f"{ann.username} reads and changes her profile"):
            await self._call("GET", "/api/v1/profile", 200, ann)
            change = {"full_name": "Ann Andersen", "bio": "Sails on Sundays."}
            profile = (await self._call("PATCH", "/api/v1/profile", 200, ann, json=change)).json()
            _check(profile["full_name"] == change["full_name"], f"the changed profile is {profile}")

    async def _chat(self, ann: Person, bob: Person, anns: "Socket", bobs: "Socket") -> None:
        async with self._step(f"{ann.username} creates a room, both subscribe to it"):
            name = f"harbour-{uuid4().hex[:6]}"
            room = (await self._call("POST", "/api/v1/rooms", 201, ann, json={"name": name, "kind": "public"})).json()
            for socket in (anns, bobs):
                await socket.send(type="subscribe", room_id=room["id"])
                await socket.wait_for("subscribed", room_id=room["id"])
        async with self._step("they exchange messages over the WebSocket"):
            for sender, hearer, text in ((anns, bobs, "Ahoy!"), (bobs, anns, "Ahoy Ann, what wind today?")):
                await sender.send(type="send", room_id=room["id"], text=text, client_id=uuid4().hex)
                await hearer.wait_for("message", text=text)

    async def _profile_a_file(self, ann: Person, socket: "Socket") -> None:
        async with self._step(f"{ann.username} uploads boats.csv"):
            upload = {"file": ("boats.csv", _CSV.encode(), "text/csv")}
            file = (await self._call("POST", "/api/v1/files", 201, ann, files=upload)).json()
        async with self._step(f"{ann.username} submits a job that profiles it"):
            job = {"kind": "file_processing", "input": {"file_id": file["id"], "operation": "csv_profile"}}
            reply = await self._call("POST", "/api/v1/jobs", 202, ann, json=job)
            job_id = reply.json()["id"]
        async with self._step(f"{ann.username} watches its progress live"):
            await self._watch(ann, job_id)
        async with self._step(f"{ann.username} is notified, and reads the result"):
            await socket.wait_for("notification", kind="job.completed")
            result = (await self._call("GET", f"/api/v1/jobs/{job_id}/result", 200, ann)).json()["result"]
            _check(result["rows"] == _CSV.count("\n") - 1, f"the job's result is {result}")

    async def _watch(self, ann: Person, job_id: str) -> None:
        path = f"/api/v1/jobs/{job_id}/events"
        async with self._http.stream("GET", path, headers=ann.headers) as stream:
            if stream.status_code != 200:
                await stream.aread()
                raise WalkFailed(_described("GET", path, stream))
            kind = ""
            async for line in stream.aiter_lines():
                field_name, _, value = line.partition(": ")
                if field_name == "event":
                    kind = value
                if field_name == "data" and kind in ("completed", "failed", "cancelled"):
                    _check(kind == "completed", f"the job {kind}: {json.loads(value).get('error')}")
                    return
        raise WalkFailed("the event stream ended before the job")

    async def _sign_out(self, ann: Person, socket: "Socket") -> None:
        async with self._step(f"{ann.username} signs out: the token is rejected and the WebSocket closes"):
            await self._call("POST", "/auth/logout", 204, ann)
            code = await socket.closed()
            _check(code == 4001, f"the WebSocket closed with {code} instead of 4001")
            await self._refused(ann)

    async def _refused(self, ann: Person) -> None:
        """Each gateway follows the revocations by itself, and has REFUSED_S to hear of this one."""
        until = time.monotonic() + REFUSED_S
        while (reply := await self._http.get("/api/v1/profile", headers=ann.headers)).status_code != 401:
            _check(time.monotonic() < until, f"{REFUSED_S:g} s later the token still gets {reply.status_code}")
            await asyncio.sleep(0.1)

    @asynccontextmanager
    async def _socket(self, person: Person) -> AsyncIterator["Socket"]:
        address = urlsplit(self._url)._replace(scheme="wss" if self._url.startswith("https") else "ws", path="/ws")
        async with connect(
            address.geturl(),
            subprotocols=[Subprotocol("flotilla.v1")],
            additional_headers=person.headers,
            proxy=None,
        ) as connection:
            socket = Socket(connection)
            await socket.wait_for("welcome")
            yield socket

    async def _call(
        self, method: str, path: str, wanted: int | tuple[int, ...], by: Person | None = None, **kw: Any
    ) -> httpx2.Response:
        reply = await self._http.request(method, path, headers=by.headers if by else None, **kw)
        if reply.status_code not in (wanted if isinstance(wanted, tuple) else (wanted,)):
            raise WalkFailed(_described(method, path, reply))
        return reply

    @asynccontextmanager
    async def _step(self, what: str) -> AsyncIterator[None]:
        self._steps += 1
        began = time.perf_counter()
        try:
            yield
        except (WalkFailed, httpx2.HTTPError, TimeoutError, ConnectionClosed, OSError) as error:
            raise WalkFailed(f"{self._steps:2}. {what}: {error or type(error).__name__}") from error
        self._say(f"{self._steps:2}. {what:<66} {(time.perf_counter() - began) * 1000:6.0f} ms")


class Socket:
    """A chat connection: frames out, and waiting for the one that matters."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, **frame: Any) -> None:
        await self._connection.send(json.dumps(frame))

    async def wait_for(self, type_: str, /, **fields: Any) -> dict[str, Any]:
        """The next frame of this type with these fields; others are passed over. Raises TimeoutError."""
        async with asyncio.timeout(WAIT_S):
            async for text in self._connection:
                frame: dict[str, Any] = json.loads(text)
                if frame["type"] == "error":
                    raise WalkFailed(f"the socket said {frame}")
                if frame["type"] == type_ and all(frame.get(name) == value for name, value in fields.items()):
                    return frame
        raise WalkFailed(f"the WebSocket closed before a frame of type {type_} arrived")

    async def closed(self) -> int | None:
        """The close code, once the server has closed. Raises TimeoutError."""
        async with asyncio.timeout(WAIT_S):
            await self._connection.wait_closed()
        return self._connection.close_code


def _check(true: bool, otherwise: str) -> None:
    if not true:
        raise WalkFailed(otherwise)


def _described(method: str, path: str, reply: httpx2.Response) -> str:
    request_id = reply.headers.get("x-request-id", "none")
    return f"{method} {path} answered {reply.status_code}: {reply.text[:400]}\nIts log lines: make logs R={request_id}"
