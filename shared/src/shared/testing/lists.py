"""The grammar of lists, tried on every list that a service's OpenAPI document has."""

import base64
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any
from uuid import UUID

import httpx2
import orjson
from fastapi import FastAPI

_ANY_ID = "01920000-0000-7000-8000-00000000000a"
_ENVELOPES = {"items", "users"}  # the directory of people has a name of its own for its rows
_REFUSED = ({"colour": "red"}, {"limit": "0"}, {"limit": "201"}, {"limit": "many"})


def lists(app: FastAPI) -> dict[str, list[str]]:
    """The path of each public list, with the names of its response's fields."""
    document = app.openapi()
    found: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        fields = _fields(document, operations.get("get", {}))
        if ("items" in fields or path.endswith("/users")) and not path.startswith("/internal/"):
            found[path] = sorted(fields)
    return found


def _fields(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    content = operation.get("responses", {}).get("200", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    reference = (schema.get("anyOf") or [schema])[0].get("$ref", "")  # of a list with page mode: its cursor mode
    page = document["components"]["schemas"].get(reference.rpartition("/")[2], {})
    properties: dict[str, Any] = page.get("properties", {})
    return properties


async def check_lists(client: httpx2.AsyncClient, app: FastAPI, headers: dict[str, str], tenant_id: UUID) -> None:
    """Each list names the next page, and refuses unknown query parameters and a limit outside 1 to 200.

    A room's messages are read by number: `has_more` instead of a cursor.
    """
    found = lists(app)
    assert found
    for path, fields in found.items():
        rows = "users" if path.endswith("/users") else "items"
        assert fields == sorted([rows, "has_more" if path.endswith("/messages") else "next_cursor"]), path
        url = path.replace("{tenant_id}", str(tenant_id)).replace("{room_id}", _ANY_ID).replace("{user_id}", _ANY_ID)
        for query in _REFUSED:
            reply = await client.get(url, params=query, headers=headers)
            assert (reply.status_code, reply.json()["code"]) == (422, "invalid_input"), (path, query)
            assert [error["parameter"] for error in reply.json()["errors"]] == list(query), (path, query)


AddRow = Callable[[], Awaitable[Any]]
"""Adds a row to a list."""

_ROWS = 5
_STRANGE_VALUES: tuple[Any, ...] = (
    None,
    True,
    [],
    {},
    "",
    "a\0b",
    "x",
    10**12,
    10**30,
    -1.5,
    "9999-99-99T00:00:00Z",
    "2026-01-01",
)


async def check_cursors(
    client: httpx2.AsyncClient, headers: dict[str, str], lists: Mapping[str, AddRow], stranger: dict[str, str]
) -> None:
    """Each list, by its URL, is walked whole while rows are added, and refuses every cursor that is not its own.

    `stranger` is a person of another tenant with the same roles.
    """
    cursors: dict[str, str] = {}
    for url, add in lists.items():
        for _ in range(_ROWS):
            await add()
        await _check_walk(client, url, headers, add)
        cursors[url] = (await _page(client, url, headers, limit=2))["next_cursor"]
    for url, cursor in cursors.items():
        others = [other for other in cursors.values() if other != cursor]
        for wrong in (*others, *_garbled(cursor)):
            await _check_refused(client, url, headers, cursor=wrong)
        await _check_refused(client, url, headers, cursor=cursor, sort="created_at")
        await _check_refused(client, url, headers, cursor=cursor, created_after="2020-01-01T00:00:00Z")
        for altered in _altered(cursor):
            reply = await client.get(url, params={"cursor": altered}, headers=headers)
            assert reply.status_code in (200, 422), (url, altered, reply.text)
            if reply.status_code == 422:
                assert [error["code"] for error in reply.json()["errors"]] == ["invalid_cursor"], (url, altered)
        theirs = await client.get(url, params={"cursor": cursor}, headers=stranger)
        if theirs.status_code == 200:  # a list across tenants: what follows are rows that they see anyway
            own = [_key(row) for row in _rows(await _page(client, url, stranger, limit=200))]
            assert {_key(row) for row in _rows(theirs.json())} <= set(own), url
        else:
            assert theirs.status_code in (403, 404, 422), (url, theirs.text)


async def _check_walk(client: httpx2.AsyncClient, url: str, headers: dict[str, str], add: AddRow) -> None:
    """In both directions: each row that was there at the start comes once, and no row twice."""
    for sort in ("-created_at", "created_at"):
        before = [_key(row) for row in _rows(await _page(client, url, headers, limit=200, sort=sort))]
        seen: list[str] = []
        page = await _page(client, url, headers, limit=2, sort=sort)
        while True:
            assert len(_rows(page)) <= 2
            seen += map(_key, _rows(page))
            if page["next_cursor"] is None:
                break
            await add()
            page = await _page(client, url, headers, limit=2, sort=sort, cursor=page["next_cursor"])
        assert len(before) >= _ROWS
        assert len(set(seen)) == len(seen), (url, sort)
        assert [key for key in seen if key in before] == before, (url, sort)


async def _page(client: httpx2.AsyncClient, url: str, headers: dict[str, str], **query: Any) -> dict[str, Any]:
    reply = await client.get(url, params=query, headers=headers)
    assert reply.status_code == 200, (url, query, reply.text)
    found: dict[str, Any] = reply.json()
    return found


def _rows(page: dict[str, Any]) -> list[dict[str, Any]]:
    [envelope] = _ENVELOPES & page.keys()
    rows: list[dict[str, Any]] = page[envelope]
    return rows


def _key(row: dict[str, Any]) -> str:
    return str(row["id"] if "id" in row else row["user_id"])


async def _check_refused(client: httpx2.AsyncClient, url: str, headers: dict[str, str], **query: str) -> None:
    reply = await client.get(url, params=query, headers=headers)
    assert reply.status_code == 422, (url, query, reply.text)
    [error] = reply.json()["errors"]
    assert (reply.json()["code"], error["parameter"]) == ("invalid_input", "cursor"), (url, query)


def _garbled(cursor: str) -> Iterator[str]:
    yield from ("", "x", "=", "\u00e9", "../..", cursor[:-2], cursor + "AAAA", cursor[::-1], "a" * 1025, f"{cursor}\0")
    yield from map(_written, (None, 1, "text", [], [1], {"a": 1}, {}, [[]] * 3, _read(cursor)[:-1], _read(cursor) * 2))
    yield base64.urlsafe_b64encode(b"[" * 700).decode()


def _altered(cursor: str) -> Iterator[str]:
    """The cursor with each value of the last row replaced: a client may write what it likes into it."""
    scope, sort, *values = _read(cursor)
    for place in range(len(values)):
        for value in _STRANGE_VALUES:
            changed = [*values]
            changed[place] = value
            yield _written([scope, sort, *changed])


def _read(cursor: str) -> list[Any]:
    found: list[Any] = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    return found


def _written(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
