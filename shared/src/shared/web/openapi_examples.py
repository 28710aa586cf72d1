"""Examples in the OpenAPI document, each composed of those of its fields: nothing is written down twice.

A field of text has an example of its own (`Field(examples=["ann"])`), a constant, a default or a format.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

Node: TypeAlias = dict[str, Any]

_FORMATS: Final = {
    "uuid": "01890a5d-ac96-774b-bcce-b302099a8057",
    "date-time": "2026-03-01T09:30:00Z",
    "date": "2026-03-01",
    "uri": "https://app.example/",
    "email": "ann@example.com",
}
_CHOICES: Final = ("anyOf", "oneOf", "allOf")


class Incomplete(LookupError):
    """A schema has no example, and a field of it has none that one could be composed of."""


class Examples:
    """Composes the examples of a document's schemas."""

    def __init__(self, schemas: Node) -> None:
        self._schemas = schemas
        self._open: set[str] = set()

    def complete(self) -> None:
        """Give each object among the named schemas its example, where its fields have theirs."""
        for schema in self._schemas.values():
            if schema.get("type") == "object" and not {"example", "examples"} & schema.keys():
                try:
                    schema["examples"] = [self.of(schema)]
                except Incomplete:
                    continue

    def show(self, content: Node) -> None:
        """Give a body whose schema has no name its example. An answer of `null` has no schema at all."""
        schema = content.setdefault("schema", {})
        if not schema:
            schema["type"] = "null"
        if "$ref" not in schema and not {"example", "examples"} & content.keys():
            try:
                content["example"] = self.of(schema)
            except Incomplete:
                return

    def of(self, schema: Mapping[str, Any]) -> Any:
        """The schema's own example, or one composed. Raises Incomplete."""
        if "example" in schema:
            return schema["example"]
        for name in ("examples", "enum"):
            if schema.get(name):
                return schema[name][0]
        if "const" in schema:
            return schema["const"]
        if schema.get("default") is not None:
            return schema["default"]
        if "$ref" in schema:
            return self._named(schema["$ref"].rpartition("/")[2])
        for choice in (choice for name in _CHOICES for choice in schema.get(name, ())):
            if choice.get("type") != "null":
                return self.of(choice)
        return self._typed(schema)

    def _named(self, name: str) -> Any:
        if name in self._open:
            raise Incomplete(f"{name} contains itself")
        self._open.add(name)
        try:
            return self.of(self._schemas[name])
        finally:
            self._open.discard(name)

    def _typed(self, schema: Mapping[str, Any]) -> Any:
        kind = schema.get("type")
        if kind == "object":
            return dict(self._fields(schema))
        if kind == "array":
            return [self.of(schema["items"])]
        if kind == "boolean":
            return False
        if kind in ("integer", "number"):
            return max(1, schema.get("minimum", 1))
        if kind == "string" and schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        if kind == "null":
            return None
        raise Incomplete(f"no example for {dict(schema)}")

    def _fields(self, schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Those of an object; an optional one without an example is left out."""
        for name, field in schema.get("properties", {}).items():
            try:
                yield name, self.of(field)
            except Incomplete:
                if name in schema.get("required", ()):
                    raise
