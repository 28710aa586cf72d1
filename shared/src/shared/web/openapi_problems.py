"""The errors of each operation in the OpenAPI document: one response a status, with an example of each code.

An operation and its dependencies name what they raise (`shared.problems.raises`); what FastAPI refuses itself is known
from what it reads. What any request may meet on its way (a limit at the gateway, a failing database) is in 4XX and 5XX.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Final, TypeAlias

from fastapi.dependencies.models import Dependant

from shared.field_errors import MISSING
from shared.problems import (
    BodyTooLarge,
    DatabaseUnavailable,
    InternalError,
    InvalidInput,
    MalformedRequest,
    Problem,
    RequestTimeout,
    ServiceUnavailable,
    TooManyRequests,
    UnsupportedMediaType,
)

Node: TypeAlias = dict[str, Any]

PROBLEM: Final = "Problem"
"""The name of the one schema that all documents share."""

SCHEMA: Final[Node] = {
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

ANYWHERE: Final = (TooManyRequests, InternalError, ServiceUnavailable, DatabaseUnavailable)
"""What any operation may answer, in 4XX and 5XX."""
_INVALID: Final = InvalidInput(errors=[MISSING.at("#/name")])
READING_A_BODY: Final = (MalformedRequest, RequestTimeout, BodyTooLarge, UnsupportedMediaType, _INVALID)
"""What reading JSON refuses; an operation that reads its body itself names them."""


def raised(dependant: Dependant) -> list[type[Problem] | Problem]:
    """What the operation raises before and while it runs, beside what may happen anywhere."""
    found: list[type[Problem] | Problem] = []
    for part in _tree(dependant):
        found += getattr(part.call, "raises", ())
        if part.body_params:
            found += READING_A_BODY
        if part.path_params or part.query_params or part.header_params or part.cookie_params:
            found.append(_INVALID)
    return list(dict.fromkeys(found))


def _tree(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for needed in dependant.dependencies:
        yield from _tree(needed)


class ErrorResponses:
    """The responses of a document's operations; equal ones are one component."""

    def __init__(self, components: Node) -> None:
        self._schemas: Node = components.setdefault("schemas", {})
        self._responses: Node = components.setdefault("responses", {})
        self._schemas[PROBLEM] = SCHEMA
        clients, servers = ([kind for kind in ANYWHERE if kind.status // 100 == digit] for digit in (4, 5))
        self._anywhere = {"4XX": self._response("4XX", clients), "5XX": self._response("5XX", servers)}

    def of(self, dependant: Dependant) -> Node:
        """By status: what this operation raises, and what any may answer."""
        problems = sorted(raised(dependant), key=_status)
        by_status = {
            str(status): [*same, *(kind for kind in ANYWHERE if kind.status == status)]
            for status, same in groupby(problems, key=_status)
        }
        return {status: self._response(status, same) for status, same in by_status.items()} | self._anywhere

    def _response(self, status: str, problems: Iterable[type[Problem] | Problem]) -> Node:
        """A reference to the component with these examples."""
        examples = {one.name: one for one in (each.example() if isinstance(each, type) else each for each in problems)}
        name = ".".join([status, *sorted(examples)])
        if name not in self._responses:
            self._responses[name] = self._component([examples[key] for key in sorted(examples)])
        return {"$ref": f"#/components/responses/{name}"}

    def _component(self, problems: list[Problem]) -> Node:
        content: Node = {}
        headers: Node = {}
        for problem in problems:
            media = content.setdefault(problem.media_type, {"schema": self._schema(problem), "examples": {}})
            body = {name: value for name, value in problem.body().items() if value is not None}
            media["examples"][problem.name] = {"summary": problem.title, "value": body}
            headers |= {name: {"schema": {"type": "string"}} for name in problem.headers}
        named = ", ".join(f"`{problem.name}`" for problem in problems)
        return {"description": f"{named}.", "content": content} | ({"headers": headers} if headers else {})

    def _schema(self, problem: Problem) -> Node:
        if problem.schema is None:
            return {"$ref": f"#/components/schemas/{PROBLEM}"}
        name = problem.schema["title"]
        self._schemas[name] = dict(problem.schema)
        return {"$ref": f"#/components/schemas/{name}"}


def _status(problem: type[Problem] | Problem) -> int:
    return problem.status
