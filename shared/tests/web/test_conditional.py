"""Conditional requests, as RFC 9110, section 13, has them: for reading and for writing."""

import httpx2
import pytest

from shared.testing.people import People

OTHER = '"other"'


@pytest.fixture
def ann(as_user: People) -> dict[str, str]:
    return as_user("ann")


@pytest.fixture
async def page(client: httpx2.AsyncClient, ann: dict[str, str]) -> str:
    return f"/pages/{(await client.post('/pages', json={'title': 'a'}, headers=ann)).json()['id']}"


async def test_who_has_the_current_version_is_told_so(
    client: httpx2.AsyncClient, ann: dict[str, str], page: str
) -> None:
    etag = (await client.get(page, headers=ann)).headers["etag"]
    for known, status in [
        (etag, 304), (f"W/{etag}", 304), (f"{OTHER}, {etag}", 304), ("*", 304), (OTHER, 200), ("1", 200),
    ]:  # fmt: skip
        reply = await client.get(page, headers=ann | {"If-None-Match": known})
        assert (reply.status_code, reply.headers["etag"]) == (status, etag), known
        assert status != 304 or reply.content == b""
    assert (await client.get(page, headers=ann | {"If-Match": OTHER})).status_code == 412


async def test_a_write_names_the_version_that_it_replaces(
    client: httpx2.AsyncClient, ann: dict[str, str], page: str
) -> None:
    async def put(**conditions: str) -> tuple[int, str]:
        headers = {name.replace("_", "-"): value for name, value in conditions.items()}
        reply = await client.put(page, json={"title": "b"}, headers=ann | headers)
        assert reply.status_code == 200 or reply.json()["code"] == "precondition_failed"
        return reply.status_code, reply.headers.get("etag", "")

    first = (await client.get(page, headers=ann)).headers["etag"]
    for stale in (OTHER, f"W/{first}", "1"):
        assert (await put(if_match=stale))[0] == 412, stale
    for made in (first, OTHER + ', "2"', "*"):
        status, etag = await put(if_match=made)
        assert (status, etag != first) == (200, True), made
    assert (await put(if_none_match="*"))[0] == 412, "it is there already"
    assert (await put(if_none_match=first))[0] == 200, "it has changed since"
