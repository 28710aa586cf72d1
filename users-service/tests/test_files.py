"""Files that are there: reading, ranges, lists, deletion, and whose they are."""

import asyncio
import resource
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from shared.background import Progress
from shared.data.database import Database
from shared.testing import People, eventually
from users_service.files import models
from users_service.files.maintenance import remove_next
from users_service.files.storage import Storage

from .calls import Published, Register

pytestmark = pytest.mark.usefixtures("acme")

CONTENT = bytes(range(256)) * 1000

Upload = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def bob(as_user: People) -> dict[str, str]:
    return as_user("bob")


@pytest.fixture
def upload(client: httpx2.AsyncClient, bob: dict[str, str]) -> Upload:
    """Uploads as bob; what the service answered."""

    async def call(content: bytes = CONTENT, name: str = "numbers.bin", **fields: str) -> dict[str, Any]:
        reply = await client.post("/api/v1/files", files={"file": (name, content)}, data=fields, headers=bob)
        assert reply.status_code == 201, reply.text
        answer: dict[str, Any] = reply.json()
        return answer

    return call


def content_of(file: dict[str, Any]) -> str:
    return f"/api/v1/files/{file['id']}/content"


async def test_the_content_comes_back_to_be_saved_never_shown(
    client: httpx2.AsyncClient, upload: Upload, bob: dict[str, str]
) -> None:
    file = await upload(name='Übersicht "Mai";.html', content=b"<!DOCTYPE html><script>alert(1)</script>")
    reply = await client.get(content_of(file), headers=bob)
    assert (reply.status_code, reply.content[:9]) == (200, b"<!DOCTYPE")
    assert reply.headers["content-disposition"] == (
        "attachment; filename=\"_bersicht _Mai_;.html\"; filename*=UTF-8''%C3%9Cbersicht%20_Mai_%3B.html"
    )
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert reply.headers["etag"] == f'"{file["sha256"]}"'
    assert (reply.headers["accept-ranges"], reply.headers["content-type"]) == ("bytes", "text/html; charset=utf-8")


async def test_ranges(client: httpx2.AsyncClient, upload: Upload, bob: dict[str, str]) -> None:
    file, size = await upload(), len(CONTENT)
    for asked, start, end in [
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=255000-", 255_000, size),
        ("bytes=-500", size - 500, size),
        (f"bytes=-{size + 9}", 0, size),
        (f"bytes=10-{2**64 - 1}", 10, size),
        ("BYTES= 0-0", 0, 1),
    ]:
        reply = await client.get(content_of(file), headers=bob | {"Range": asked})
        assert (reply.status_code, reply.content == CONTENT[start:end]) == (206, True), asked
        assert reply.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        assert reply.headers["content-length"] == str(end - start)
    for asked in (f"bytes={size}-", "bytes=-0", f"bytes={2**64}-{2**64 + 1}"):
        reply = await client.get(content_of(file), headers=bob | {"Range": asked})
        assert (reply.status_code, reply.json()["code"]) == (416, "range_not_satisfiable"), asked
        assert reply.headers["content-range"] == f"bytes */{size}"
    for ignored in ("bytes=5-1", "bytes=0-1,5-6", "lines=1-2", "bytes=-", "bytes=a-b", "bytes=" + "9" * 40 + "-"):
        reply = await client.get(content_of(file), headers=bob | {"Range": ignored})
        assert (reply.status_code, len(reply.content)) == (200, size), ignored


async def test_a_range_of_other_bytes_is_not_sent(
    client: httpx2.AsyncClient, upload: Upload, bob: dict[str, str]
) -> None:
    file = await upload()
    etag = f'"{file["sha256"]}"'
    for condition, status in [
        (etag, 206),
        ('"other"', 200),
        (f"W/{etag}", 200),
        ("Mon, 01 Jan 2024 00:00:00 GMT", 200),
    ]:
        reply = await client.get(content_of(file), headers=bob | {"Range": "bytes=0-9", "If-Range": condition})
        assert reply.status_code == status, condition
    unchanged = await client.get(content_of(file), headers=bob | {"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["cache-control"] == "private, no-cache"


async def test_head_says_what_get_would(client: httpx2.AsyncClient, upload: Upload, bob: dict[str, str]) -> None:
    file = await upload()
    ranged = bob | {"Range": "bytes=0-9"}  # a range is for GET alone
    head, get = await client.head(content_of(file), headers=ranged), await client.get(content_of(file), headers=bob)
    assert (head.status_code, head.content) == (200, b"")
    varying = {"date", "x-request-id"}
    assert {k: v for k, v in head.headers.items() if k not in varying} == {
        k: v for k, v in get.headers.items() if k not in varying
    }


async def test_an_empty_file_has_empty_content(client: httpx2.AsyncClient, upload: Upload, bob: dict[str, str]) -> None:
    file = await upload(content=b"")
    reply = await client.get(content_of(file), headers=bob)
    assert (reply.status_code, reply.content, reply.headers["content-length"]) == (200, b"", "0")
    assert (await client.get(content_of(file), headers=bob | {"Range": "bytes=0-"})).status_code == 416


async def test_whose_files_one_sees(client: httpx2.AsyncClient, as_user: People, upload: Upload) -> None:
    file = await upload()
    path = f"/api/v1/files/{file['id']}"
    for headers, status in [
        (as_user("bob"), 200),
        (as_user("ann", roles=["admin"]), 200),
        (as_user("cy"), 404),
        (as_user("mo", roles=["moderator", "analyst"]), 404),
        (as_user("gil", tenant="globex", roles=["admin"]), 404),
        (as_user("bob", tenant="globex"), 404),
        (as_user("bob", tenant=None), 404),
        (as_user("bob", scopes=["files:write"]), 403),
    ]:
        for suffix in ("", "/content"):
            reply = await client.get(path + suffix, headers=headers)
            assert reply.status_code == status
            assert status != 404 or reply.json()["code"] == "file_not_found"


async def test_tasks_service_reads_a_file_for_its_owner_and_changes_none(
    client: httpx2.AsyncClient, as_user: People, upload: Upload
) -> None:
    path = f"/api/v1/files/{(await upload())['id']}"
    needed = ["files:read"]
    for_bob = as_user("bob", scopes=needed, via="tasks")
    for_ann = as_user("ann", roles=["admin"], scopes=needed, via="tasks")
    assert (await client.get(f"{path}/content", headers=for_bob)).content == CONTENT
    assert (await client.get(path, headers=for_ann)).status_code == 404
    assert (await client.delete(path, headers=for_bob)).status_code == 403


async def test_tasks_service_never_uses_a_scope_outside_its_cap(client: httpx2.AsyncClient, as_user: People) -> None:
    ann, for_ann = as_user("ann", roles=["admin"]), as_user("ann", roles=["admin"], via="tasks")
    body = {"full_name": "Ann"}
    assert (await client.patch("/api/v1/profile", json=body, headers=for_ann)).json()["code"] == "insufficient_scope"
    assert (await client.patch("/api/v1/profile", json=body, headers=ann)).status_code != 403


async def test_a_deleted_file_is_gone_and_so_are_its_bytes(
    client: httpx2.AsyncClient, upload: Upload, bob: dict[str, str], storage_folder: Path, published: Published
) -> None:
    file = await upload()
    path = f"/api/v1/files/{file['id']}"
    etag = (await client.get(path, headers=bob)).headers["etag"]
    assert (await client.delete(path, headers=bob | {"If-Match": '"0"'})).status_code == 412
    assert (await client.delete(path, headers=bob | {"If-Match": etag})).status_code == 204
    for reply in [await client.get(path, headers=bob), await client.delete(path, headers=bob)]:
        assert (reply.status_code, reply.json()["code"]) == (404, "file_not_found")
    await eventually(lambda: not [one for one in storage_folder.rglob("*") if one.is_file()], saying="bytes are gone")
    event = (await published("file.deleted"))[0]
    assert (str(event.subject), event.subject_version, event.data) == (file["id"], 2, {"owner_id": file["owner_id"]})


async def test_another_persons_file_is_deleted_by_an_admin_only(
    client: httpx2.AsyncClient, as_user: People, register: Register, upload: Upload
) -> None:
    path = f"/api/v1/files/{(await upload())['id']}"
    await register("cy")
    assert (await client.delete(path, headers=as_user("cy"))).status_code == 404
    limited = as_user("ann", roles=["admin"], scopes=["files:write", "admin:read"])
    assert (await client.delete(path, headers=limited)).json()["code"] == "insufficient_scope"
    assert (await client.delete(path, headers=as_user("ann", roles=["admin"]))).status_code == 204


async def test_lists(client: httpx2.AsyncClient, as_user: People, upload: Upload, bob: dict[str, str]) -> None:
    for name, category in [("a.csv", "x"), ("b.txt", "y"), ("c.json", "z")]:
        await upload(content=b'{"a": 1}', name=name, category=category)
    ann = as_user("ann", roles=["admin"])
    await client.post("/api/v1/files", files={"file": ("own.txt", b"mine")}, headers=ann)

    async def names(headers: dict[str, str], query: str = "") -> list[str]:
        reply = await client.get(f"/api/v1/files?sort=name{query}", headers=headers)
        assert reply.status_code == 200, reply.text
        return [file["name"] for file in reply.json()["items"]]

    assert await names(bob) == ["a.csv", "b.txt", "c.json"]
    assert await names(ann) == ["a.csv", "b.txt", "c.json", "own.txt"]
    assert await names(ann, f"&owner_id={as_user.id('ann')}") == ["own.txt"]
    stranger = await client.get(f"/api/v1/files?owner_id={as_user.id('gil')}", headers=ann)
    assert (stranger.status_code, stranger.json()["code"]) == (404, "member_not_found")
    assert await names(bob, "&category=x&category=z") == ["a.csv", "c.json"]
    assert await names(bob, "&content_type=text/csv&content_type=application/json") == ["a.csv", "c.json"]
    assert await names(as_user("cy")) == []
    assert await names(as_user("gil", tenant="globex", roles=["admin"])) == []
    first = (await client.get("/api/v1/files?sort=name&limit=2", headers=bob)).json()
    assert await names(bob, f"&limit=2&cursor={first['next_cursor']}") == ["c.json"]


async def test_a_category_is_one_however_it_is_typed(
    client: httpx2.AsyncClient, upload: Upload, bob: dict[str, str]
) -> None:
    file = await upload(category=" Cafe\u0301  bar", description="Cafe\u0301\n")
    assert (file["category"], file["description"]) == ("Caf\u00e9 bar", "Caf\u00e9\n")
    for typed in ("Caf\u00e9 bar", "Cafe\u0301 bar"):
        found = await client.get("/api/v1/files", params={"category": typed}, headers=bob)
        assert [one["id"] for one in found.json()["items"]] == [file["id"]]


async def test_a_reader_who_stops_reading_costs_little_memory(
    base_url: str, settings: Any, upload: Upload, bob: dict[str, str]
) -> None:
    """The service holds a piece of a file per download, however slow its reader and however large the file."""
    size = 3 * 1024 * 1024
    file = await upload(content=bytes(size))
    url = urlsplit(base_url)
    request = f"GET {content_of(file)} HTTP/1.1\r\nHost: x\r\nAuthorization: {bob['Authorization']}\r\n\r\n".encode()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    connections = [await asyncio.open_connection(url.hostname, url.port, limit=4096) for _ in range(40)]
    for _, writer in connections:
        writer.write(request)
    heads = await asyncio.gather(*(reader.readline() for reader, _ in connections))
    assert all(head.startswith(b"HTTP/1.1 200") for head in heads)
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kb < 40 * size / 1024 / 2, "less than half of what 40 whole files would take"
    for reader, _ in connections[:2]:  # who goes on reading gets all of it
        await reader.readuntil(b"\r\n\r\n")
        assert len(await reader.readexactly(size)) == size
    for _, writer in connections:
        writer.close()


async def test_the_health_page_tells_of_the_storage(client: httpx2.AsyncClient) -> None:
    storage = (await client.get("/health/detailed")).json()["checks"]["storage"]
    assert (storage["status"], storage["detail"]) == ("ok", "answers")


async def test_the_sweeper_removes_what_an_ended_process_left(
    database: Database, storage_folder: Path, settings: Any
) -> None:
    storage = Storage(settings.storage_url)
    writer = storage.writer("t/whole")
    await writer.write(b"bytes")
    await writer.close()
    (storage_folder / "t" / "cut#1").write_bytes(b"parts of an upload that a killed process had begun")
    async with database.transaction() as db:
        for key in ("t/whole", "t/cut", "t/never"):
            models.plan_removal(db, key)
        models.plan_removal(db, "t/later", after_s=60)
    while await remove_next(database, storage) is Progress.MORE:  # the service's own sweeper may have been faster
        pass
    await eventually(lambda: not [one for one in storage_folder.rglob("*") if one.is_file()], saying="all are gone")
    async with database.transaction() as db:
        assert await models.cancel_removal(db, "t/later")
        assert not await models.cancel_removal(db, "t/whole")
