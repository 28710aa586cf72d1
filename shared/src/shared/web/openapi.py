"""The OpenAPI document says what the services do: every refusal is a Problem, a PATCH is a JSON Merge Patch too.

`/internal/openapi.json` serves it to the gateway, which merges the services' documents; it is served in production too.
"""

import asyncio
import json
from typing import Any, Final

from fastapi import Depends, FastAPI, Response

from shared.identity.access import require_grant
from shared.web.router import JSON, MERGE_PATCH, Router

PROBLEM: Final = "Problem"
"""The name of the one component that all documents share."""

_PROBLEM: dict[str, Any] = {
    "title": PROBLEM,
    "description": "RFC 9457. `code` is permanent; /problems/{code} describes cause and remedy.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": ["string", "null"]},
        "request_id": {"type": ["string", "null"]},
        "code": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["detail", "code"],
                "properties": {name: {"type": "string"} for name in ("detail", "code", "pointer", "parameter")},
            },
        },
    },
}
_REFUSAL: dict[str, Any] = {
    "description": "A problem.",
    "content": {"application/problem+json": {"schema": {"$ref": f"#/components/schemas/{PROBLEM}"}}},
}
_FASTAPIS_OWN = ("HTTPValidationError", "ValidationError")


def describe(app: FastAPI) -> None:
    """Make `app.openapi()` name the Problem shape of every refusal, and both media types of a PATCH."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if PROBLEM not in schemas:
            schemas[PROBLEM] = _PROBLEM
            for name in _FASTAPIS_OWN:
                schemas.pop(name, None)
            for method, operation in _operations(document):
                operation["responses"].pop("422", None)
                operation["responses"] |= {"4XX": _REFUSAL, "5XX": _REFUSAL}
                if method == "patch" and JSON in (content := operation.get("requestBody", {}).get("content", {})):
                    content[MERGE_PATCH] = content[JSON]
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def install(app: FastAPI) -> None:
    """Serve the document of `app` to services that hold the grant `openapi:read`."""
    router = Router(prefix="/internal", tags=["internal"])
    rendered = asyncio.Lock()
    body: bytes | None = None

    @router.get("/openapi.json", dependencies=[Depends(require_grant("openapi:read"))], response_model=dict[str, Any])
    async def read_openapi() -> Response:
        """This document. The gateway merges it with those of the other services."""
        nonlocal body
        async with rendered:
            if body is None:  # it takes about 0.1 s: not on the event loop, and not before a caller asks
                body = await asyncio.to_thread(_rendered, app)
        return Response(body, media_type=JSON)

    app.include_router(router)


def _rendered(app: FastAPI) -> bytes:
    body = json.dumps(app.openapi()).encode()
    app.openapi_schema = None  # some 3 MB, which FastAPI keeps for a second use
    return body


def _operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (method, operation)
        for path in document.get("paths", {}).values()
        for method, operation in path.items()
        if method in ("get", "put", "post", "delete", "patch", "head", "options")
    ]
