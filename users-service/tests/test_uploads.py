"""Uploads over a real socket: what arrives whole is stored, everything else leaves nothing behind."""

import asyncio
import hashlib
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from sqlalchemy import func, select, update

from shared.data.database import Database
from shared.testing import People, eventually
from shared.web.idempotency_keys import IdempotencyKey
from users_service.files.models import File, Removal

from .calls import Published

pytestmark = pytest.mark.usefixtures("acme")

CSV = b"name,amount\nann,3\nbob,4\n"
MAX_BYTES = 3 * 1024 * 1024


@pytest.fixture
def ann(as_user: People) -> dict[str, str]:
    return as_user("ann", roles=["admin"])


def form(*parts: tuple[str, bytes], boundary: str = "line") -> tuple[bytes, dict[str, str]]:
    """A multipart body of (disposition parameters, content), exactly as given."""
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; ".encode()
        + parameters.encode("utf-8", "surrogatepass")
        + b"\r\n\r\n"
        + content
        + b"\r\n"
        for parameters, content in parts
    )
    return body + f"--{boundary}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def stored(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def nothing_is_left(folder: Path, database: Database) -> bool:
    async with database.transaction() as db:
        planned = list(await db.scalars(select(Removal)))
    return not planned and not stored(folder)


async def upload(
    client: httpx2.AsyncClient, headers: dict[str, str], content: bytes = CSV, **fields: Any
) -> httpx2.Response:
    name = fields.pop("name", "amounts.csv")
    return await client.post("/api/v1/files", files={"file": (name, content)}, data=fields, headers=headers)


async def test_a_file_is_stored_with_what_is_known_of_it(
    client: httpx2.AsyncClient, as_user: People, ann: dict[str, str], storage_folder: Path, published: Published
) -> None:
    reply = await upload(client, ann, description="Amounts of May", category="reports")
    assert reply.status_code == 201, reply.text
    shown = reply.json()
    assert shown == {
        "id": shown["id"],
        "name": "amounts.csv",
        "content_type": "text/csv",
        "size_bytes": len(CSV),
        "sha256": hashlib.sha256(CSV).hexdigest(),
        "description": "Amounts of May",
        "category": "reports",
        "owner_id": str(as_user.id("ann")),
        "created_at": shown["created_at"],
    }
    assert reply.headers["location"] == f"/api/v1/files/{shown['id']}"
    read = await client.get(reply.headers["location"], headers=ann)
    assert (read.json(), read.headers["etag"]) == (shown, reply.headers["etag"])
    assert [path.read_bytes() for path in stored(storage_folder)] == [CSV]
    (event,) = await published("file.")
    assert (event.type, str(event.subject), event.data) == (
        "file.uploaded.v1",
        shown["id"],
        {"owner_id": str(as_user.id("ann")), "content_type": "text/csv", "size_bytes": len(CSV)},
    )


async def test_the_fields_may_come_after_the_file_and_an_empty_file_is_one(
    client: httpx2.AsyncClient, ann: dict[str, str]
) -> None:
    body, headers = form(('name="file"; filename="none.txt"', b""), ('name="category"', "späte".encode()))
    reply = await client.post("/api/v1/files", content=body, headers=ann | headers)
    assert reply.status_code == 201
    assert (reply.json()["size_bytes"], reply.json()["category"]) == (0, "späte")


async def test_the_type_is_told_by_the_bytes(client: httpx2.AsyncClient, ann: dict[str, str]) -> None:
    for name, content, kind in [
        ("a.csv", b"\x89PNG\r\n\x1a\n" + bytes(50), "image/png"),
        ("a.png", b"just words", "text/plain"),
        ("a.txt", b"<!DOCTYPE html><script>1</script>", "text/html"),
        ("a.txt", b" \n\t<html><script>1</script>", "text/html"),
        ("a.txt", b"%PDF-1.7\n1 0 obj", "application/pdf"),
        ("a.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml"),
        ("a.csv", b"MZ,BM,PK\n1,2,3\n", "text/csv"),
        ("a.txt", b"GIF89a is what a picture begins with", "text/plain"),
        ("a.json", b'{"a": 1}', "application/json"),
        ("a.zip", b"PK\x03\x04" + bytes(50), "application/zip"),
        ("a.txt", bytes(range(256)), "application/octet-stream"),
        ("a.pdf", b"", "application/octet-stream"),
    ]:
        assert (await upload(client, ann, content, name=name)).json()["content_type"] == kind, (name, content)


async def test_a_forged_name_is_made_safe(client: httpx2.AsyncClient, ann: dict[str, str]) -> None:
    reply = await upload(client, ann, name="../../etc/pass\r\nwd<>.csv")
    assert reply.json()["name"] == "pass_wd_.csv"


DIALECTS = {
    ".NET": ("name=file; filename=\"=?utf-8?B?w6kicS50eHQ=?=\"; filename*=utf-8''%C3%A9%22q.txt", "é_q.txt"),
    ".NET, plain": ("name=file; filename=a.txt; filename*=utf-8''a.txt", "a.txt"),
    "filename* alone": ("name=\"file\"; filename*=utf-8''%C3%A9%0Aq.txt", "é_q.txt"),
    "filename* first": ('name="file"; filename*=UTF-8\'en\'%e2%82%ac%2522.txt; filename="EURO.txt"', "€%22.txt"),
    "filename* in a name": ('name="file"; filename="a; filename*=utf-8\'\'b.txt"', "a; filename_=utf-8''b.txt"),
    "curl": ('name="file"; filename="é%22q.txt"', "é_q.txt"),
    "curl --form-escape": ('name="file"; filename="é\\"q.txt"', "é_q.txt"),
    "browsers": ('name="file"; filename="é%22q%0D%0A.txt"', "é_q_.txt"),
    "httpx": ('name="file"; filename="é%22q%0A.txt"', "é_q_.txt"),
    "requests": ("name=\"file\"; filename*=utf-8''%C3%A9%22q.txt", "é_q.txt"),
    "undici": ('name="file"; filename="é%22q%0D%0A.txt"', "é_q_.txt"),
    "Go": ('name="file"; filename="é\\"q%0A.txt"', "é_q_.txt"),
}


@pytest.mark.parametrize(("parameters", "name"), DIALECTS.values(), ids=DIALECTS)
async def test_each_clients_way_to_write_a_file_name_is_read(
    client: httpx2.AsyncClient, ann: dict[str, str], parameters: str, name: str
) -> None:
    body, headers = form((parameters, CSV))
    reply = await client.post("/api/v1/files", content=body, headers=ann | headers)
    assert (reply.status_code, reply.json().get("name")) == (201, name)


async def test_a_form_that_is_wrong_is_refused_and_leaves_nothing(
    client: httpx2.AsyncClient, ann: dict[str, str], storage_folder: Path, database: Database
) -> None:
    file = ('name="file"; filename="a.csv"', CSV)
    wrong: Iterable[tuple[list[tuple[str, bytes]], str]] = [
        ([('name="category"', b"x")], "missing"),
        ([file, file], "repeated_field"),
        ([file, ('name="category"', b"x"), ('name="category"', b"x")], "repeated_field"),
        ([file, ('name="colour"', b"red")], "extra_forbidden"),
        ([('name="file"', CSV)], "wrong_kind"),
        ([file, ('name="category"; filename="c"', b"x")], "wrong_kind"),
        ([file, ('name="category"', b"x" * 51)], "string_too_long"),
        ([file, ('name="description"', b"x" * 1_000_000)], "string_too_long"),
        ([file, ('name="category"', b"a\0b")], "nul_character"),
        ([file, ('name="category"', b"\xed\xa0\x80")], "not_utf8"),
        ([file, ('name="category"', b"\xff")], "not_utf8"),
        ([('name="file"; filename="a\0.csv"', CSV)], "nul_character"),
        ([('name="file"; filename="\ud800.csv"', CSV)], "not_utf8"),
        ([("name=\"file\"; filename*=utf-8''%FF", CSV)], "not_utf8"),
        ([("name=\"file\"; filename*=iso-8859-1''%E9", CSV)], "not_utf8"),
    ]
    for parts, code in wrong:
        body, headers = form(*parts)
        reply = await client.post("/api/v1/files", content=body, headers=ann | headers)
        assert (reply.status_code, reply.json()["errors"][0]["code"]) == (422, code), parts
    assert await nothing_is_left(storage_folder, database)


async def test_what_is_no_form_is_refused(
    client: httpx2.AsyncClient, ann: dict[str, str], storage_folder: Path, database: Database
) -> None:
    body, headers = form(('name="file"; filename="a.csv"', CSV))
    multipart = headers["Content-Type"]
    for content, content_type, status in [
        (b"{}", "application/json", 415),
        (b"a=b", "application/x-www-form-urlencoded", 415),
        (body, "multipart/form-data", 400),
        (body, "multipart/form-data; boundary=" + "x" * 300, 400),
        (body, "multipart/form-data; boundary=other", 400),
        (body[:-20], multipart, 400),
        (b"", multipart, 400),
        (b"--line\r\n\r\nno headers\r\n--line--\r\n", multipart, 400),
        (b"--line\r\nContent-Disposition: attachment\r\n\r\nx\r\n--line--\r\n", multipart, 400),
        (b"--line\r\nX: " + b"y" * 10_000, multipart, 400),
    ]:
        reply = await client.post("/api/v1/files", content=content, headers=ann | {"Content-Type": content_type})
        assert reply.status_code == status, (content[:50], content_type, reply.text)
        assert reply.headers["content-type"] == "application/problem+json"
    assert await nothing_is_left(storage_folder, database)


async def test_a_key_stores_one_file_however_often_it_comes(
    client: httpx2.AsyncClient, ann: dict[str, str], as_user: People, storage_folder: Path, database: Database
) -> None:
    keyed = ann | {"Idempotency-Key": "k-1"}
    first = await upload(client, keyed, category="x")
    again = await upload(client, keyed, category="x")
    assert (again.status_code, again.json(), again.headers["etag"], again.headers["location"]) == (
        201,
        first.json(),
        first.headers["etag"],
        first.headers["location"],
    )
    assert again.headers["idempotency-replayed"] == "true"
    for content, category in [(CSV, "y"), (CSV + b"cy,5\n", "x")]:
        other = await upload(client, keyed, content, category=category)
        assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    assert (await upload(client, as_user("bob") | {"Idempotency-Key": "k-1"}, category="y")).status_code == 201
    assert len(stored(storage_folder)) == 2


async def test_a_key_is_forgotten_after_a_day(
    client: httpx2.AsyncClient, ann: dict[str, str], as_user: People, database: Database
) -> None:
    keyed = ann | {"Idempotency-Key": "k-1"}
    first = await upload(client, keyed)
    async with database.transaction(as_user.tenant_id("acme")) as db:
        await db.execute(update(IdempotencyKey).values(created_at=func.now() - timedelta(hours=24, seconds=1)))
    second = await upload(client, keyed, CSV + b"cy,5\n")
    assert (second.status_code, second.json()["id"] == first.json()["id"]) == (201, False)


class Raw:
    """A connection on which a test says exactly what goes out, and when."""

    def __init__(self, base_url: str) -> None:
        self._url = urlsplit(base_url)

    async def __aenter__(self) -> "Raw":
        self.reader, self.writer = await asyncio.open_connection(self._url.hostname, self._url.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def begin(self, headers: dict[str, str], length: int) -> None:
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = ["POST /api/v1/files HTTP/1.1", "Host: x", f"Content-Length: {length}", *lines, "", ""]
        self.writer.write("\r\n".join(head).encode())
        await self.writer.drain()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def status(self) -> int:
        async with asyncio.timeout(5):
            return int((await self.reader.readline()).split()[1])


async def test_a_body_that_is_cut_off_stores_nothing_and_is_logged(
    base_url: str,
    ann: dict[str, str],
    storage_folder: Path,
    database: Database,
    caplog: pytest.LogCaptureFixture,
) -> None:
    body, headers = form(('name="file"; filename="a.bin"', bytes(2 * 1024 * 1024)))
    async with Raw(base_url) as connection:
        await connection.begin(ann | headers, len(body))
        await connection.send(body[: len(body) * 3 // 4])
        await eventually(lambda: stored(storage_folder), saying="the upload is under way")
    await eventually(lambda: nothing_is_left(storage_folder, database), saying="nothing is left")
    await eventually(lambda: "'cut_off': True" in caplog.text, saying="the log tells of it")
    async with database.transaction(None, role="app") as db:
        assert list(await db.scalars(select(File))) == []


async def test_an_upload_that_stalls_is_given_up(
    base_url: str, ann: dict[str, str], storage_folder: Path, database: Database
) -> None:
    body, headers = form(('name="file"; filename="a.bin"', bytes(100_000)))
    async with Raw(base_url) as connection:
        await connection.begin(ann | headers, len(body))
        await connection.send(body[:50_000])
        assert await connection.status() == 408
    await eventually(lambda: nothing_is_left(storage_folder, database), saying="nothing is left")


async def test_a_file_that_is_too_large_is_refused_before_it_has_arrived(
    base_url: str, client: httpx2.AsyncClient, ann: dict[str, str], storage_folder: Path, database: Database
) -> None:
    body, headers = form(('name="file"; filename="a.bin"', bytes(MAX_BYTES + 1)))
    reply = await client.post("/api/v1/files", content=body, headers=ann | headers)
    assert (reply.status_code, reply.json()["code"]) == (413, "body_too_large")
    async with Raw(base_url) as declared:  # refused by what it declares, before a byte of it
        await declared.begin(ann | headers, 100 * MAX_BYTES)
        assert await declared.status() == 413

    async def endless() -> Any:
        yield body[:200]
        for _ in range(MAX_BYTES // 65536 + 2):
            yield bytes(65536)

    undeclared = await client.post("/api/v1/files", content=endless(), headers=ann | headers)
    assert (undeclared.status_code, undeclared.json()["code"]) == (413, "body_too_large")
    await eventually(lambda: nothing_is_left(storage_folder, database), saying="nothing is left")


async def test_the_largest_file_passes(client: httpx2.AsyncClient, ann: dict[str, str]) -> None:
    reply = await upload(client, ann, bytes(MAX_BYTES), description="d" * 1000, category="c" * 50)
    assert (reply.status_code, reply.json()["size_bytes"]) == (201, MAX_BYTES)


async def test_uploading_needs_the_scope_and_a_tenant(client: httpx2.AsyncClient, as_user: People) -> None:
    for headers, status, code in [
        (as_user("ann", scopes=["files:read"]), 403, "insufficient_scope"),
        (as_user("ann", tenant=None), 403, "no_tenant"),
        (as_user.service("tasks"), 401, "invalid_token"),
    ]:
        reply = await upload(client, headers)
        assert (reply.status_code, reply.json()["code"]) == (status, code)


async def test_uploads_that_fail_at_once_do_not_wait_for_each_other(
    client: httpx2.AsyncClient, ann: dict[str, str], settings_values: dict[str, Any]
) -> None:
    """More of them than the pool has connections: none holds its connection while it needs another to clean up."""
    keys = [
        ann | {"Idempotency-Key": f"key-{number}"} for number in range(2 * settings_values["database"]["pool_size"])
    ]
    for key in keys:
        assert (await upload(client, key)).status_code == 201
    replies = await asyncio.gather(*(upload(client, key, b"another") for key in keys))
    assert {reply.status_code for reply in replies} == {422}, [reply.text for reply in replies]
