"""Merges the services' OpenAPI documents into the one that a client of the gateway needs.

It has the operations that the route table lets through, with the security that the gateway requires of them. Names are
those of the service with its name in front (`users.MemberOut`, `users_list_members`), always: if only clashing names
were changed, a new service could rename what generated clients already use.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeAlias

from pydantic import BaseModel, Field, model_validator

from gateway.routes.matching import Matcher
from gateway.routes.model import Access
from shared.identity.scopes import DESCRIPTIONS
from shared.web.openapi_problems import PROBLEM

Node: TypeAlias = dict[str, Any]

_METHODS: Final = frozenset({"get", "put", "post", "patch", "delete"})
_COMPONENTS: Final = "#/components/"

_SIGN_IN: Final = "sign_in"
_BEARER: Final = "bearer"
_API_KEY: Final = "api_key"
_TICKET: Final = "ticket"

_DESCRIPTION: Final = """\
Every path of this fleet, at one URL.

Sign in with `POST /auth/login` and send the access token as `Authorization: Bearer …`; it lasts for ten minutes, and
`POST /auth/refresh` returns the next one. Errors are `application/problem+json` (RFC 9457) with a permanent `code`;
`/problems/{code}` explains each. Live messages and presence are on the WebSocket `/ws` (subprotocol `flotilla.v1`)."""


class Document(BaseModel):
    """What is read of a service's OpenAPI document."""

    openapi: Annotated[str, Field(pattern=r"^3\.1\.")]
    paths: dict[str, dict[str, Any]]
    components: dict[str, dict[str, Any]] = {}

    @model_validator(mode="after")
    def _is_whole(self) -> "Document":
        """Every operation has an id and every reference leads to a component: so that merging cannot fail."""
        for path, method, operation in _operations(self):
            if "operationId" not in operation:
                raise ValueError(f"{method} {path} has no operationId")
        for reference in _references([self.paths, self.components]):
            section, _, name = reference.removeprefix(_COMPONENTS).partition("/")
            if name not in self.components.get(section, {}):
                raise ValueError(f"{reference} is not a component")
        return self


@dataclass(frozen=True, slots=True)
class _Exposed:
    """An operation as the gateway offers it. `access` is None for the gateway's own, which are public."""

    path: str
    method: str
    operation: Node
    access: Access | None = None
    tickets: bool = False
    api_keys: bool = False


def merge(own: Document, parts: Mapping[str, Document], matcher: Matcher, public_url: str) -> Node:
    """One document of the gateway's `own` and the services' `parts`, by their upstream names.

    `public_url` is where the password form signs in. `info` lists services of the route table that are not in `parts`,
    as `x-missing-services`.
    """
    merged = _Merged()
    for name in matcher.upstreams:
        if name in parts:
            merged.add(name, parts[name], _let_through(name, parts[name], matcher))
    merged.add("gateway", own, _own(own))
    return merged.document([name for name in matcher.upstreams if name not in parts], public_url)


def _let_through(upstream: str, document: Document, matcher: Matcher) -> Iterator[_Exposed]:
    for path, method, operation in _operations(document):
        match = matcher.find(path)
        if match is not None and match.upstream == upstream and not match.websocket:
            access = match.access.get(method.upper())
            if access is not None:
                yield _Exposed(path, method, operation, access, match.tickets and method == "get", match.api_keys)


def _own(document: Document) -> Iterator[_Exposed]:
    for path, method, operation in _operations(document):
        yield _Exposed(path, method, operation)


def _operations(document: Document) -> Iterator[tuple[str, str, Node]]:
    for path, item in document.paths.items():
        for method, operation in item.items():
            if method in _METHODS:
                yield path, method, operation


class _Merged:
    """The document while it grows, a service at a time."""

    def __init__(self) -> None:
        self._paths: dict[str, Node] = {}
        self._components: dict[str, Node] = {"schemas": {}}
        self._tags: dict[str, str] = {}
        """The service of each tag: the first that has it."""
        self._scopes: set[str] = set()

    def add(self, service: str, document: Document, exposed: Iterator[_Exposed]) -> None:
        """Add these operations of the service, and the components that they use."""
        names = _Namespace(service)
        for one in exposed:
            security = _security(one)
            operation = {**names.renamed(one.operation), "security": security}
            operation["operationId"] = f"{service}_{one.operation['operationId']}"
            self._paths.setdefault(one.path, {})[one.method] = operation
            self._scopes.update(*(scopes for each in security for scopes in each.values()))
            for tag in operation.get("tags", ()):
                self._tags.setdefault(tag, service)
        self._add_components(names, document)

    def _add_components(self, names: "_Namespace", document: Document) -> None:
        while names.wanted:
            section, name = names.wanted.pop()
            found = self._components.setdefault(section, {})
            if (renamed := names.of(section, name)) not in found:
                found[renamed] = names.renamed(document.components[section][name])

    def document(self, missing: list[str], public_url: str) -> Node:
        info: Node = {"title": "Flotilla", "version": "1", "description": _DESCRIPTION}
        if missing:
            info["description"] += f"\n\n**Incomplete**: no document from {', '.join(missing)} yet."
            info["x-missing-services"] = missing
        return {
            "openapi": "3.1.0",
            "info": info,
            "servers": [{"url": "/"}],
            "tags": [{"name": tag} for tag in self._tags],
            "x-tagGroups": self._tag_groups(),
            "paths": self._paths,
            "components": {**self._components, "securitySchemes": _schemes(self._scopes, public_url)},
        }

    def _tag_groups(self) -> list[Node]:
        """How ReDoc groups the tags: by service."""
        groups: dict[str, list[str]] = {}
        for tag, service in self._tags.items():
            groups.setdefault(service, []).append(tag)
        return [{"name": service, "tags": tags} for service, tags in groups.items()]


class _Namespace:
    """Renames a service's references; `wanted` are the components that they lead to."""

    def __init__(self, service: str) -> None:
        self._service = service
        self.wanted: list[tuple[str, str]] = []

    def of(self, section: str, name: str) -> str:
        """The merged name of a component; every service has the same Problem."""
        return name if (section, name) == ("schemas", PROBLEM) else f"{self._service}.{name}"

    def renamed(self, node: Any) -> Any:
        """A copy of `node` with its references renamed: `$ref`, and the mapping of a discriminator."""
        if isinstance(node, list):
            return [self.renamed(one) for one in node]
        if not isinstance(node, dict):
            return node
        copy = {key: self.renamed(value) for key, value in node.items()}
        if isinstance(reference := node.get("$ref"), str):
            copy["$ref"] = self._reference(reference)
        if mapping := _mapping(node):
            copy["discriminator"]["mapping"] = {value: self._reference(target) for value, target in mapping.items()}
        return copy

    def _reference(self, reference: str) -> str:
        section, _, name = reference.removeprefix(_COMPONENTS).partition("/")
        self.wanted.append((section, name))
        return f"{_COMPONENTS}{section}/{self.of(section, name)}"


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for one in node:
            yield from _references(one)
    elif isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str):
            yield reference
        yield from _mapping(node).values()
        yield from _references(list(node.values()))


def _mapping(node: Node) -> dict[str, str]:
    """The schemas that a discriminator chooses from, by its values."""
    discriminator = node.get("discriminator")
    return discriminator.get("mapping", {}) if isinstance(discriminator, dict) else {}


def _security(one: _Exposed) -> list[dict[str, list[str]]]:
    """The alternatives that the gateway accepts; none for a public operation."""
    if one.access is None or one.access.public:
        return []
    enough = _alternatives(one.access, _required(one.operation))
    schemes = (_SIGN_IN, _BEARER, _API_KEY) if one.api_keys else (_SIGN_IN, _BEARER)
    accepted = [{scheme: sorted(scopes)} for scopes in enough for scheme in schemes]
    return [*accepted, {_TICKET: []}] if one.tickets else accepted


def _alternatives(access: Access, required: list[frozenset[str]]) -> list[frozenset[str]]:
    """Each set of scopes that is enough, for the gateway and for the service, where one of `required` is enough."""
    enough = set()
    for own in required:
        always = access.all_of | own
        enough |= {always} if not access.any_of or access.any_of & always else {always | {s} for s in access.any_of}
    return sorted(enough, key=sorted)


def _required(operation: Node) -> list[frozenset[str]]:
    """The sets of scopes of which each is enough for the service."""
    found = [frozenset(scopes) for each in operation.get("security", ()) for scopes in each.values()]
    return found or [frozenset()]


def _schemes(scopes: set[str], public_url: str) -> Node:
    described = {scope: DESCRIPTIONS.get(scope, "") for scope in sorted(scopes)}
    return {
        _SIGN_IN: {
            "type": "oauth2",
            "description": "Username (or email) and password; the other fields stay empty.",
            "flows": {"password": {"tokenUrl": f"{public_url.rstrip('/')}/auth/login", "scopes": described}},
        },
        _BEARER: {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The `access_token` that `POST /auth/login` returns.",
        },
        _API_KEY: {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "An API key of `POST /auth/api-keys`, for programs.",
        },
        _TICKET: {
            "type": "apiKey",
            "in": "query",
            "name": "ticket",
            "description": "A ticket of `POST /auth/tickets`, for clients that cannot send a header.",
        },
    }
