"""The OpenAPI document says what the services do, with the errors and scopes of each operation.

`/internal/openapi.json` serves it to the gateway, which merges the services' documents; it is served in production too.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import Depends, FastAPI, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute

from shared.identity.access import require_grant
from shared.identity.requirements import scope_alternatives
from shared.web.openapi_examples import Examples
from shared.web.openapi_problems import PROBLEM, ErrorResponses
from shared.web.router import JSON, MERGE_PATCH, Router

_EXAMPLE: dict[int | str, dict[str, Any]] = {
    200: {"content": {JSON: {"schema": {"type": "object"}, "example": {"openapi": "3.1.0", "paths": {}}}}}
}
_FASTAPIS_OWN = ("HTTPValidationError", "ValidationError")


def describe(app: FastAPI) -> None:
    """Complete `app.openapi()`: errors, examples, security, and both media types of a PATCH."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        if PROBLEM not in document.setdefault("components", {}).setdefault("schemas", {}):
            _complete(document, app.routes)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _complete(document: dict[str, Any], routes: Sequence[BaseRoute]) -> None:
    schemas = document["components"]["schemas"]
    for name in _FASTAPIS_OWN:
        schemas.pop(name, None)
    errors, examples = ErrorResponses(document["components"]), Examples(schemas)
    examples.complete()
    for method, operation, dependant in _operations(document, routes):
        operation["responses"].pop("422", None)
        for response in operation["responses"].values():
            if JSON in response.get("content", {}):
                examples.show(response["content"][JSON])
        operation["responses"] = {**errors.of(dependant), **operation["responses"]}
        operation["security"] = [
            {scheme: scopes}
            for scheme in (name for required in operation.get("security", ()) for name in required)
            for scopes in scope_alternatives(dependant)
        ]
        if method == "patch" and JSON in (content := operation.get("requestBody", {}).get("content", {})):
            content[MERGE_PATCH] = content[JSON]


def _operations(
    document: dict[str, Any], routes: Sequence[BaseRoute]
) -> Iterator[tuple[str, dict[str, Any], Dependant]]:
    """Each operation of the document with its method, and with what FastAPI knows of its route."""
    for route in iter_route_contexts(routes):
        dependant: Dependant | None = getattr(route, "dependant", None)  # plain routes and mounts have none
        if dependant is None:
            continue
        for method in map(str.lower, route.methods or ()):
            if operation := document["paths"].get(route.path, {}).get(method):
                yield method, operation, dependant


def install(app: FastAPI) -> None:
    """Serve the document of `app` to services that hold the grant `openapi:read`."""
    router = Router(prefix="/internal", tags=["internal"])
    rendered = asyncio.Lock()
    body: bytes | None = None

    @router.get("/openapi.json", dependencies=[Depends(require_grant("openapi:read"))], responses=_EXAMPLE)
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
