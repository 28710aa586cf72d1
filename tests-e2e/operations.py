"""The operations of the services' contracts, and calling each as its own example shows it."""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2
from people import Person

from shared.dev.fleet import repository

Json = Any
Ids = Mapping[str, str]
"""An id for each name that operations have for one."""

NAMED: Final = {("POST", "/auth/sessions"): "tenant"}
"""Ids that do not look like one: a tenant's slug or id."""


@dataclass(frozen=True)
class Operation:
    """One operation of a contract, with one of its bodies where it takes one."""

    method: str
    path: str
    contract: Mapping[str, Json] = field(repr=False, compare=False)
    body: Json = field(default=None, repr=False, compare=False)
    media_type: str = "application/json"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def described(self) -> Mapping[str, Json]:
        found: Mapping[str, Json] = self.contract["paths"][self.path][self.method.lower()]
        return found

    @property
    def parameters(self) -> list[Mapping[str, Json]]:
        """Those of path and query that are ids."""
        found = self.described.get("parameters", [])
        return [one for one in found if one["in"] in ("path", "query") and is_id(one["schema"])]

    @property
    def fields(self) -> list[str]:
        """The names of the ids that this body holds."""
        named = NAMED.get((self.method, self.path))
        return sorted(id_names(self) & set(self.body or ())) + ([named] if named else [])

    @property
    def ids(self) -> list[str]:
        """The names of all ids that it takes."""
        return [one["name"] for one in self.parameters] + self.fields

    async def call(self, person: Person, ids: Ids) -> httpx2.Response:
        """The example, with these ids in place of its own."""
        path, query = self.path, {one["name"]: ids[one["name"]] for one in self.parameters if one["in"] == "query"}
        for name in (one["name"] for one in self.parameters if one["in"] == "path"):
            path = path.replace(f"{{{name}}}", ids[name])
        return await person.call(self.method, path, params=query, **self._content(ids))

    def _content(self, ids: Ids) -> dict[str, Any]:
        if self.body is None:
            return {}
        body = deepcopy(self.body) | {name: ids[name] for name in self.fields}
        if self.media_type != "multipart/form-data":
            return {"json": body}
        file = body.pop("file")
        return {"files": {"file": ("example.csv", file, "text/csv")}, "data": body}


def operations() -> Iterator[Operation]:
    """Every operation of every service, once for each shape of its body."""
    for file in sorted(repository().glob("*/contracts/openapi.json")):
        contract = json.loads(file.read_text(encoding="utf-8"))
        for path, methods in contract["paths"].items():
            for method, described in methods.items():
                content = described.get("requestBody", {}).get("content", {})
                media_type = next(iter(content), "")
                bodies = examples(content[media_type], contract) if content else []
                for body in bodies or [None]:
                    yield Operation(method.upper(), path, contract, body, media_type)


def without_example(found: list[Operation]) -> list[str]:
    """What of these could not be called as the contract means it: a body, or an id that no example has."""
    missing = [f"{one}: {id_['name']}" for one in found for id_ in one.parameters if not has_example(id_)]
    shown: dict[str, set[str]] = {}
    for one in found:
        shown[str(one)] = shown.get(str(one), set()) | set(one.body or ())
    for one in found:
        wanted = id_names(one) if one.body is not None else {"a body"} if "requestBody" in one.described else set()
        missing += [f"{one}: {name}" for name in sorted(wanted - shown[str(one)])]
    return missing


def id_names(operation: Operation) -> set[str]:
    """The names of the ids that a body of this operation may hold."""
    if operation.body is None:
        return set()
    schema = operation.described["requestBody"]["content"][operation.media_type]["schema"]
    return {
        name
        for variant in variants(schema, operation.contract)
        for name, property_ in variant.get("properties", {}).items()
        if is_id(property_)
    }


def is_id(schema: Mapping[str, Json]) -> bool:
    return schema.get("format") == "uuid" or any(is_id(one) for one in schema.get("anyOf", ()))


def variants(schema: Mapping[str, Json], contract: Mapping[str, Json]) -> Iterator[Mapping[str, Json]]:
    """The shapes that a body may have."""
    whole = resolved(schema, contract)
    choices = whole.get("oneOf") or whole.get("anyOf")
    for choice in choices or (whole,):
        yield resolved(choice, contract)


def resolved(schema: Mapping[str, Json], contract: Mapping[str, Json]) -> Mapping[str, Json]:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    found: Mapping[str, Json] = contract["components"]["schemas"][name] if name else schema
    return found


def examples(content: Mapping[str, Json], contract: Mapping[str, Json]) -> list[Json]:
    """An example for each shape of the body; none where the contract has none."""
    if "example" in content:
        return [content["example"]]
    return [one for shape in variants(content["schema"], contract) for one in shape_examples(shape)]


def shape_examples(shape: Mapping[str, Json]) -> list[Json]:
    return [shape["example"]] if "example" in shape else list(shape.get("examples", ()))


def has_example(parameter: Mapping[str, Json]) -> bool:
    return bool(parameter.get("example") or shape_examples(parameter["schema"]))
