"""A service's contracts/ as a test reads them: which requests it takes, who may send them, and what it answers.

Answers are held to the letter: a field that the contract does not name is an error, because a consumer could read it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from jsonschema_rs import Draft202012Validator

from shared.dev.fleet import fleet, repository

_JSON: Final = re.compile(r"application/([a-z.-]+\+)?json")
_ANY_BYTES: Final = "application/octet-stream"  # declared where the media type is a stored file's own
_METHODS: Final = frozenset({"get", "put", "post", "patch", "delete"})


class Schemas:
    """Validators of a document's schemas, each made once."""

    def __init__(self, components: Mapping[str, Any]) -> None:
        self._components = {False: components, True: _closed(components)}
        self._made: dict[tuple[int, bool], Draft202012Validator] = {}

    def resolved(self, answer: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """An answer's declaration, which may be a reference to a component."""
        if answer is None or "$ref" not in answer:
            return answer
        found: Mapping[str, Any] = self._components[False]["responses"][answer["$ref"].rpartition("/")[2]]
        return found

    def validator(self, schema: Mapping[str, Any], *, closed: bool) -> Draft202012Validator:
        """For values of `schema`, a part of the document; `closed` refuses properties that it does not name."""
        key = (id(schema), closed)
        if key not in self._made:
            whole = {**(_closed(schema) if closed else schema), "components": self._components[closed]}
            self._made[key] = Draft202012Validator(whole, validate_formats=True)
        return self._made[key]


@dataclass(frozen=True)
class Operation:
    """One operation of an OpenAPI document."""

    name: str
    """Method and path template, as `GET /internal/memberships/{tenant_id}/{user_id}`."""
    grant: str | None
    """What a calling service must hold; None where people call it."""
    _entry: Mapping[str, Any] = field(repr=False)
    _schemas: Schemas = field(repr=False)

    @property
    def requires_token(self) -> bool:
        return bool(self._entry.get("security"))

    def allows(self, scopes: frozenset[str]) -> bool:
        """Whether a person's token with these scopes is enough."""
        return any(scopes.issuperset(one["bearer"]) for one in self._entry.get("security", ()))

    def request_errors(
        self, path: Mapping[str, str], query: Mapping[str, str], media_type: str, body: bytes
    ) -> Iterator[str]:
        declared = {(one["in"], one["name"]): one for one in self._entry.get("parameters", ())}
        given = {("path", name): value for name, value in path.items()}
        given |= {("query", name): value for name, value in query.items()}
        for key, value in given.items():
            if key not in declared:
                yield f"{key[0]} parameter {key[1]!r} is not declared"
            else:
                yield from self._value_errors(f"{key[0]} parameter {key[1]}", declared[key]["schema"], value)
        yield from (f"{kind} parameter {name} is missing" for kind, name in _required(declared) - given.keys())
        content = self._entry.get("requestBody", {}).get("content", {})
        if not content and body:
            yield "the operation takes no body"
        elif content:
            yield from self._content_errors("request", content, media_type, body, answer=False)

    def answer_errors(self, status: int, media_type: str, body: bytes) -> Iterator[str]:
        answers = self._entry["responses"]
        declared = self._schemas.resolved(answers.get(str(status), answers.get(f"{status // 100}XX")))
        if declared is None:
            yield f"status {status} is not declared"
        elif content := declared.get("content"):
            yield from self._content_errors(f"answer {status}", content, media_type, body, answer=True)
        elif body:
            yield f"an answer {status} has no body"

    def _content_errors(
        self, what: str, content: Mapping[str, Any], media_type: str, body: bytes, *, answer: bool
    ) -> Iterator[str]:
        declared = content.get(media_type, content.get(_ANY_BYTES))
        if declared is None:
            yield f"{what}: the media type {media_type!r} is not declared"
        elif "schema" in declared and _JSON.fullmatch(media_type):
            try:
                value = json.loads(body)
            except ValueError as error:
                yield f"{what}: {error}"
            else:
                yield from self._errors(what, declared["schema"], value, closed=answer)

    def _value_errors(self, what: str, schema: Mapping[str, Any], value: str) -> Iterator[str]:
        if not self._schemas.validator(schema, closed=False).is_valid(_number(value)):
            yield from self._errors(what, schema, value, closed=False)

    def _errors(self, what: str, schema: Mapping[str, Any], value: Any, *, closed: bool) -> Iterator[str]:
        for error in self._schemas.validator(schema, closed=closed).iter_errors(value):
            place = "".join(f"/{part}" for part in error.instance_path)
            yield f"{what}: {place or 'the whole'}: {error.message}"


class Contract:
    """The operations of one service, from its committed contracts/."""

    def __init__(self, openapi: Mapping[str, Any], grants: Mapping[str, list[str]]) -> None:
        self.document = openapi
        granted = {operation: grant for grant, operations in grants.items() for operation in operations}
        self._operations: dict[str, Operation] = {}
        schemas = Schemas(openapi["components"])
        self._templates: list[tuple[str, re.Pattern[str]]] = []
        for path, entries in openapi["paths"].items():
            self._templates.append((path, _pattern(path)))
            for method in _METHODS & entries.keys():
                name = f"{method.upper()} {path}"
                self._operations[name] = Operation(name, granted.get(name), entries[method], schemas)
        self._templates.sort(key=lambda template: template[0].count("{"))  # a literal path before a template

    def operation(self, name: str) -> Operation | None:
        return self._operations.get(name)

    def find(self, method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
        """The operation that serves the request, with the values of its path; None where there is none."""
        for template, pattern in self._templates:
            if (found := pattern.fullmatch(path)) and (operation := self.operation(f"{method} {template}")):
                return operation, found.groupdict()
        return None


@cache
def contract_of(service: str) -> Contract:
    """The contract of a service of the fleet."""
    root = repository()
    folder = root / fleet(root)[service].folder / "contracts"
    openapi, grants = ((folder / name).read_text(encoding="utf-8") for name in ("openapi.json", "grants.json"))
    return Contract(json.loads(openapi), json.loads(grants))


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", re.sub(r"([.])", r"\\\1", template)))


def _required(declared: Mapping[tuple[str, str], Mapping[str, Any]]) -> set[tuple[str, str]]:
    return {key for key, one in declared.items() if one.get("required") and key[0] in ("path", "query")}


def _number(value: str) -> Any:
    """What a parameter's text means where the contract asks for a number or a truth value."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def _closed(schema: Any) -> Any:
    """The schema with no room for properties that it does not name."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed
