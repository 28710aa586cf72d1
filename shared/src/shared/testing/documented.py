"""What an OpenAPI document owes its readers: each operation described, with examples that are valid, errors and scopes.

assert undocumented(app.openapi()) == []
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from shared.testing.fakes.contract import Schemas

Node = Mapping[str, Any]

_METHODS: Final = frozenset({"get", "put", "post", "patch", "delete"})
_FORMS: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})


def undocumented(document: Node) -> list[str]:
    """What is missing or wrong, a line each: `POST /api/v1/rooms: no description`."""
    whole = _Document(document)
    return [
        f"{method.upper()} {path}: {error}"
        for path, item in whole.paths.items()
        for method, operation in item.items()
        if method in _METHODS
        for error in whole.errors(operation)
    ]


class _Document:
    def __init__(self, document: Node) -> None:
        self.paths: Node = document["paths"]
        self._components: Node = document["components"]
        self._schemas = Schemas(self._components)

    def errors(self, operation: Node) -> Iterator[str]:
        if not operation.get("summary") or not operation.get("description"):
            yield "no summary or no description"
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            if _is_json(media_type) or media_type in _FORMS:
                yield from self._example_errors(f"body {media_type}", content)
        for status, response in operation["responses"].items():
            for media_type, content in self._resolved(response).get("content", {}).items():
                if _is_json(media_type):
                    yield from self._example_errors(f"{status} {media_type}", content)
        yield from _refusal_errors(operation)

    def _example_errors(self, place: str, content: Node) -> Iterator[str]:
        """Of a body: it has an example, and each of its examples is valid."""
        examples = list(self._examples(content))
        if not examples:
            yield f"{place}: no example"
        validator = self._schemas.validator(content["schema"], closed=False)
        for example in examples:
            yield from (f"{place}: {example!r}: {error.message}" for error in validator.iter_errors(example))

    def _examples(self, content: Node) -> Iterator[Any]:
        """Those of the media type, else those of its schema, whose variants each have their own."""
        if "example" in content:
            yield content["example"]
        elif "examples" in content:
            yield from (self._resolved(example)["value"] for example in content["examples"].values())
        else:
            yield from self._schemas_examples(content["schema"])

    def _schemas_examples(self, schema: Node) -> Iterator[Any]:
        schema = self._resolved(schema)
        if "example" in schema:
            yield schema["example"]
        elif "examples" in schema:
            yield from schema["examples"]
        else:
            for variant in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
                yield from self._schemas_examples(variant)

    def _resolved(self, node: Node) -> Node:
        if "$ref" not in node:
            return node
        section, name = node["$ref"].removeprefix("#/components/").split("/")
        found: Node = self._components[section][name]
        return found


def _refusal_errors(operation: Node) -> Iterator[str]:
    """Errors and scopes: any operation may fail, and a secured one refuses a caller."""
    expected = ["4XX", "5XX"]
    if "security" not in operation:
        yield "neither secured nor public"
    elif operation["security"]:
        expected.append("401")
        if all(scopes for required in operation["security"] for scopes in required.values()):
            expected.append("403")
    yield from (f"no response {status}" for status in expected if status not in operation["responses"])


def _is_json(media_type: str) -> bool:
    return media_type == "application/json" or media_type.endswith("+json")
