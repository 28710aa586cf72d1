"""Whatever comes in at the entries of the main job gets its documented answer, and never a 5xx."""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from people import PASSWORD, Person, Town

from shared.dev.fleet import repository
from shared.dev.launcher.running_fleet import Fleet
from shared.testing import eventually

Json = Any
MIB: Final = 1024 * 1024
EXAMPLES: Final = 20


@dataclass(frozen=True)
class Entry:
    """Where JSON comes in: what fits there, and a field of it that is a text."""

    method: str
    path: str
    fits: Callable[[Person], Json]
    text: tuple[str, ...]
    public: bool = False
    wrong: Mapping[str, Json] = field(default_factory=dict)
    """Fields with values of a wrong type."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def path_for(self, person: Person, room_id: str) -> str:
        return self.path.format(tenant_id=person.tenant_id, user_id=person.id, room_id=room_id)

    def with_text(self, person: Person, text: str) -> Json:
        """What fits, with this text in its text field."""
        body = json.loads(json.dumps(self.fits(person)))
        holder = body
        for name in self.text[:-1]:
            holder = holder[name]
        holder[self.text[-1]] = text
        return body


def registration(_: Person) -> Json:
    name = f"x{uuid4().hex[:12]}"
    return {"username": name, "email": f"{name}@example.com", "password": PASSWORD, "confirm_password": PASSWORD}


def job(_: Person) -> Json:
    return {"kind": "data_processing", "input": {"operation": "count", "rows": [{"name": "n"}]}}


ENTRIES: Final = [
    Entry("POST", "/auth/register", registration, ("username",), public=True, wrong={"username": 7, "tenant": []}),
    Entry(
        "POST", "/auth/login", lambda p: {"username": p.username, "password": PASSWORD}, ("tenant",), public=True,
        wrong={"password": {}, "cookie": "yes"},
    ),
    Entry("POST", "/auth/refresh", lambda _: {"refresh_token": "a"}, ("refresh_token",), public=True,
          wrong={"refresh_token": 1}),
    Entry("POST", "/auth/tickets", lambda _: {"path": "/ws"}, ("path",), wrong={"path": True}),
    Entry("POST", "/auth/sessions", lambda p: {"tenant": p.tenant}, ("tenant",), wrong={"tenant": None}),
    Entry("PUT", "/api/v1/profile", lambda _: {"full_name": "Ann"}, ("full_name",), wrong={"full_name": ["Ann"]}),
    Entry("PATCH", "/api/v1/profile", lambda _: {"bio": "Sails."}, ("bio",), wrong={"birth_date": "yesterday"}),
    Entry("PUT", "/api/v1/tenants/{tenant_id}/members/{user_id}", lambda _: {"roles": ["admin"]}, ("roles",),
          wrong={"roles": "admin"}),
    Entry("POST", "/api/v1/rooms", lambda _: {"kind": "public", "name": uuid4().hex}, ("name",),
          wrong={"kind": "secret", "name": 1}),
    Entry("POST", "/api/v1/rooms/{room_id}/messages", lambda _: {"text": "Ahoy", "client_id": uuid4().hex}, ("text",),
          wrong={"text": 7, "client_id": ""}),
    Entry("POST", "/api/v1/jobs", job, ("input", "field"), wrong={"kind": 1, "input": [], "priority": "high"}),
]  # fmt: skip
BAD_TEXTS: Final = {"NUL": "a\0b", "half a surrogate pair": "a\ud800b"}  # sent as escapes: \u0000, \ud800
NO_JSON: Final = {
    "broken UTF-8": b'{"username": "\xff\xfe"}',
    "NaN": b'{"username": NaN}',
    "infinity": b'{"priority": -Infinity}',
    "a comma too many": b'{"username": "ann",}',
    "nothing": b"",
    "nested 1 MB deep": b'{"a":' * (MIB // 6) + b"1" + b"}" * (MIB // 6),
    "brackets 1 MB deep": b"[" * (MIB // 2 - 8) + b"]" * (MIB // 2 - 8),
}


@pytest.fixture(scope="module")
async def ann(fleet: Fleet) -> Person:
    async with Town.of(fleet) as town:
        return await town.founder()


@pytest.fixture(scope="module")
async def room(fleet: Fleet, ann: Person) -> str:
    async with Town.of(fleet) as town:
        ann.town = town
        return await ann.room()


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
async def test_bad_json_is_a_problem(town: Town, ann: Person, room: str, entry: Entry) -> None:
    ann.town = town
    path = entry.path_for(ann, room)
    found: dict[str, tuple[int, str]] = {}

    async def send(what: str, content: bytes) -> None:
        headers = {"Content-Type": "application/json"} | ({"Authorization": ""} if entry.public else {})
        reply = await ann.call(entry.method, path, content=content, headers=headers)
        assert reply.headers["content-type"] == "application/problem+json", f"{what}: {reply.text[:300]}"
        found[what] = (reply.status_code, reply.json()["code"])

    for what, content in NO_JSON.items():
        await send(what, content)
    for what, text in BAD_TEXTS.items():
        await send(what, json.dumps(entry.with_text(ann, text)).encode())
    await send("an unknown field", json.dumps({**entry.fits(ann), "unknown": 1}).encode())
    await send("a list", b"[1]")
    for name, value in entry.wrong.items():
        await send(f"{name} of a wrong type", json.dumps({**entry.fits(ann), name: value}).encode())
    await send("65 levels", json.dumps({**entry.fits(ann), "unknown": nested(65)}).encode())

    malformed = {"broken UTF-8", "NaN", "infinity", "a comma too many", "half a surrogate pair"}
    assert {found[what] for what in malformed} == {(400, "malformed_request")}
    shapeless = {"nothing", *(what for what in NO_JSON if "deep" in what)}
    assert {found[what][0] for what in shapeless} <= {400, 413, 422}
    others = found.keys() - malformed - shapeless
    assert {what: found[what] for what in others} == dict.fromkeys(others, (422, "invalid_input"))


def nested(levels: int) -> Json:
    value: Json = 1
    for _ in range(levels):
        value = [value]
    return value


async def test_ids_and_queries_that_cannot_be_read(town: Town, ann: Person, room: str) -> None:
    ann.town = town
    paths = {
        "/api/v1/rooms/7": 422,
        f"/api/v1/rooms/{room}/messages?after=-1": 422,
        f"/api/v1/rooms/{room}/messages?limit=201": 422,
        f"/api/v1/rooms/{room}/messages?after=99999999999999999999": 422,
        f"/api/v1/rooms/{room}/messages?unknown=1": 422,
        "/api/v1/notifications?unread=perhaps": 422,
        "/api/v1/notifications?cursor=%00": 422,
        "/api/v1/jobs?sort=%FF": 422,
        "/api/v1/jobs?created_after=tomorrow": 422,
        "/api/v1/files/%F0%28%8C%28": 400,
    }
    answered = {path: (await ann.get(path, None)).status_code for path in paths}
    assert answered == paths
    assert (await ann.post("/api/v1/notifications/7/read")).status_code == 422
    assert (await ann.call("PUT", f"/api/v1/rooms/{room}/members/none")).status_code == 422


async def test_uploads_that_cannot_be_read(town: Town, ann: Person) -> None:
    ann.town = town
    before = await ann.all_of("/api/v1/files")

    async def upload(content: bytes, kind: str = "multipart/form-data; boundary=b") -> tuple[int, str]:
        reply = await ann.post("/api/v1/files", content=content, headers={"Content-Type": kind})
        return reply.status_code, reply.json()["code"]

    part = b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    file = part % (b"file", b'; filename="a.txt"', b"text")
    bodies = {
        "no form": b"{}",
        "no end": file,
        "no file": part % (b"description", b"", b"text") + b"--b--\r\n",
        "unknown field": file + part % (b"unknown", b"", b"1") + b"--b--\r\n",
        "NUL in a field": file + part % (b"description", b"", b"a\0b") + b"--b--\r\n",
        "broken UTF-8 in a field": file + part % (b"description", b"", b"\xff\xfe") + b"--b--\r\n",
    }
    answers = {what: await upload(content) for what, content in bodies.items()}
    assert {status for status, _ in answers.values()} <= {400, 422}, answers
    assert (await upload(b"{}", "application/json"))[0] == 415
    assert (await upload(b"", "multipart/form-data"))[0] in (400, 422)

    async def too_much() -> Any:
        yield part % (b"file", b'; filename="big.bin"', b"")
        for _ in range(6):
            yield bytes(MIB)

    chunked = await ann.post(
        "/api/v1/files", content=too_much(), headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert (chunked.status_code, chunked.json()["code"]) == (413, "body_too_large")
    assert await ann.all_of("/api/v1/files") == before


@pytest.mark.parametrize("declared", [9 * MIB, 300 * MIB])
async def test_a_length_that_is_too_much_is_refused_unread(town: Town, ann: Person, declared: int) -> None:
    path = "/api/v1/jobs" if declared < 100 * MIB else "/api/v1/files"
    answer = await raw(town.urls[0], ann, "POST", path, declared, b"{", hang_up=False)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"body_too_large" in answer


CUT_OFF: Final = {
    "/api/v1/rooms": (b"application/json", b'{"kind": "public", "name": "cut off"'),
    "/api/v1/jobs": (b"application/json", b'{"kind": "wait", "input": {"seconds": 1}'),
    "/api/v1/files": (
        b"multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhalf',
    ),
}


@pytest.mark.parametrize("path", CUT_OFF)
async def test_a_body_that_is_cut_off_stores_nothing_and_is_logged(fleet: Fleet, town: Town, path: str) -> None:
    cy = await town.founder()
    kind, begun = CUT_OFF[path]
    request_id = f"cut-off-{uuid4().hex}"
    await raw(town.urls[0], cy, "POST", path, len(begun) + 100, begun, hang_up=True, kind=kind, request_id=request_id)

    def logged() -> list[dict[str, Any]]:
        text = (fleet.around.folder.logs / "gateway.log").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines() if request_id in line]

    lines = await eventually(logged, within_s=10, every_s=0.1, saying="the gateway logged it")
    assert [line["status"] for line in lines] == [499]
    assert (await cy.get(path)).json()["items"] == []


async def raw(
    url: str, person: Person, method: str, path: str, length: int, body: bytes, *, hang_up: bool,
    kind: bytes = b"application/json", request_id: str = "raw",
) -> bytes:  # fmt: skip
    """Send a request whose body is not what its Content-Length says; the answer, where we stay to hear one."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"{method} {path} HTTP/1.1\r\nHost: {address.netloc}\r\nX-Request-ID: {request_id}\r\n"
    head += f"Authorization: {person.headers['Authorization']}\r\nContent-Length: {length}\r\n"
    writer.write(head.encode() + b"Content-Type: " + kind + b"\r\n\r\n" + body)
    await writer.drain()
    try:
        return b"" if hang_up else await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
        await writer.wait_closed()


ENDS_THE_SESSION: Final = "^/auth/(logout|deactivate)"  # the rest of the run would be 401s


@pytest.mark.parametrize("service", ["auth", "users", "chat", "tasks", "gateway"])
async def test_schemathesis_finds_no_5xx(fleet: Fleet, town: Town, service: str) -> None:
    """At the service's own port, so that nothing of what it makes up is sorted out before."""
    dora = await town.founder()
    contract = next(repository().glob(f"{service}*/contracts/openapi.json"))
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", str(contract),
        "--url", str(fleet.children[service].command.url),
        "--header", f"Authorization: {dora.headers['Authorization']}",
        "--checks", "not_a_server_error", "--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES),
        "--seed", "1", "--exclude-path-regex", ENDS_THE_SESSION, "--no-shrink", "--continue-on-failure",
        "--suppress-health-check", "all", "--warnings", "off", "--request-timeout", "20",
    ]  # fmt: skip
    run = await asyncio.create_subprocess_exec(
        *command, cwd=fleet.around.folder.path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await asyncio.wait_for(run.communicate(), 120)
    finally:
        if run.returncode is None:
            run.kill()
            await run.wait()
    assert run.returncode == 0, output.decode(errors="replace")[-6000:]
