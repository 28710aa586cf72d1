"""The grammar of lists, tried on every list that a service's OpenAPI document has."""

from typing import Any
from uuid import UUID

import httpx2
from fastapi import FastAPI

_ANY_ID = "01920000-0000-7000-8000-00000000000a"
_REFUSED = ({"colour": "red"}, {"limit": "0"}, {"limit": "201"}, {"limit": "many"})


def lists(app: FastAPI) -> dict[str, list[str]]:
    """The path of each public list, with the names of its response's fields."""
    document = app.openapi()
    found: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        fields = _fields(document, operations.get("get", {}))
        if "items" in fields and not path.startswith("/internal/"):
            found[path] = sorted(fields)
    return found


def _fields(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    content = operation.get("responses", {}).get("200", {}).get("content", {})
    reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    schema = document["components"]["schemas"].get(reference.rpartition("/")[2], {})
    properties: dict[str, Any] = schema.get("properties", {})
    return properties


async def check_lists(client: httpx2.AsyncClient, app: FastAPI, headers: dict[str, str], tenant_id: UUID) -> None:
    """Each list names the next page, and refuses unknown query parameters and a limit outside 1 to 200.

    A room's messages are read by number: `has_more` instead of a cursor.
    """
    found = lists(app)
    assert found
    for path, fields in found.items():
        assert fields == sorted(["items", "has_more" if path.endswith("/messages") else "next_cursor"]), path
        url = path.replace("{tenant_id}", str(tenant_id)).replace("{room_id}", _ANY_ID)
        for query in _REFUSED:
            reply = await client.get(url, params=query, headers=headers)
            assert (reply.status_code, reply.json()["code"]) == (422, "invalid_input"), (path, query)
            assert [error["parameter"] for error in reply.json()["errors"]] == list(query), (path, query)
