"""The OpenAPI document says what the services do: every refusal is a Problem, a PATCH is a JSON Merge Patch too."""

from typing import Any

from fastapi import FastAPI

from shared.web.router import JSON, MERGE_PATCH

_PROBLEM: dict[str, Any] = {
    "title": "Problem",
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
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_FASTAPIS_OWN = ("HTTPValidationError", "ValidationError")


def describe(app: FastAPI) -> None:
    """Make `app.openapi()` name the Problem shape of every refusal, and both media types of a PATCH."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if "Problem" not in schemas:
            schemas["Problem"] = _PROBLEM
            for name in _FASTAPIS_OWN:
                schemas.pop(name, None)
            for method, operation in _operations(document):
                operation["responses"].pop("422", None)
                operation["responses"] |= {"4XX": _REFUSAL, "5XX": _REFUSAL}
                if method == "patch" and JSON in (content := operation.get("requestBody", {}).get("content", {})):
                    content[MERGE_PATCH] = content[JSON]
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (method, operation)
        for path in document.get("paths", {}).values()
        for method, operation in path.items()
        if method in ("get", "put", "post", "delete", "patch", "head", "options")
    ]
