"""HEAD wherever there is GET, 405 with every method that the path takes, 415 for what an operation does not read."""

import asyncio
from urllib.parse import urlsplit

import httpx2
import pytest

from shared.testing.people import People


async def test_head_says_what_get_would(client: httpx2.AsyncClient, as_user: People) -> None:
    ann = as_user("ann")
    page = (await client.post("/pages", json={"title": "a"}, headers=ann)).json()
    path = f"/pages/{page['id']}"
    for known in ("/pages", path, "/livez", "/failures", "/pages/none"):
        head, get = await client.head(known, headers=ann), await client.get(known, headers=ann)
        assert (head.status_code, head.content) == (get.status_code, b""), known
        assert told(head) == told(get), known
    etag = (await client.head(path, headers=ann)).headers["etag"]
    unchanged = await client.head(path, headers=ann | {"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.headers["etag"]) == (304, etag)
    assert (await client.head(path)).status_code == 401


def told(reply: httpx2.Response) -> dict[str, str]:
    return {name: value for name, value in reply.headers.items() if name not in ("date", "x-request-id")}


async def test_head_ends_at_the_headers_and_the_connection_goes_on(base_url: str, as_user: People) -> None:
    """Of a stream without end too: on one connection, each answer is followed by the next."""
    url = urlsplit(base_url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    signed_in = f"Host: x\r\nAuthorization: {as_user('ann')['Authorization']}\r\n\r\n"
    try:
        async with asyncio.timeout(10):
            for path, kind in (("/endless-ticks", "text/event-stream"), ("/pages", "application/json")) * 2:
                writer.write(f"HEAD {path} HTTP/1.1\r\n{signed_in}".encode())
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                assert head.startswith("http/1.1 200"), head
                assert f"content-type: {kind}" in head
                assert "transfer-encoding" not in head
    finally:
        writer.close()


async def test_405_names_every_method_of_the_path(client: httpx2.AsyncClient, as_user: People) -> None:
    for method, path, allowed in [
        ("PATCH", "/pages", "GET, HEAD, POST"),
        ("POST", "/pages/018f0000-0000-7000-8000-000000000000", "GET, HEAD, PUT"),
        ("GET", "/long-pages", "POST"),
        ("HEAD", "/long-pages", "POST"),
        ("DELETE", "/livez", "GET, HEAD"),
    ]:
        reply = await client.request(method, path, headers=as_user("ann"))
        assert (reply.status_code, reply.headers["allow"]) == (405, allowed), (method, path)


async def test_a_path_has_one_spelling(client: httpx2.AsyncClient, as_user: People) -> None:
    """A redirect to the other would be made of whatever Host the client sent."""
    assert (await client.get("/pages/", headers=as_user("ann"))).status_code == 404


@pytest.mark.parametrize(
    ("media_type", "read"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/merge-patch+json", False),
        ("application/json-patch+json", False),
        ("text/plain", False),
        ("application/x-www-form-urlencoded", False),
        ("", False),
    ],
)
async def test_only_json_is_read(client: httpx2.AsyncClient, as_user: People, media_type: str, read: bool) -> None:
    headers = as_user("ann") | ({"Content-Type": media_type} if media_type else {})
    reply = await client.post("/pages", content=b'{"title": "a"}', headers=headers)
    assert reply.status_code == (201 if read else 415)
    assert read or reply.json()["code"] == "unsupported_media_type"
