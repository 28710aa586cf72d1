"""Every failure leaves through here as one shape, application/problem+json (RFC 9457), and says nothing internal."""

from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from shared import problems
from shared.field_errors import PYDANTICS, FieldError, broken_rule
from shared.identity.access import name_scheme
from shared.problems import InternalError, InvalidInput, MalformedRequest, Problem
from shared.web.early_responses import AnswerInstead, Refused
from shared.web.json_input import escape
from shared.web.router import allowed_methods

log = structlog.get_logger(__name__)

_BY_STATUS: dict[int, type[Problem]] = {
    400: problems.MalformedRequest,
    401: problems.Unauthenticated,
    403: problems.Forbidden,
    404: problems.NotFound,
    405: problems.MethodNotAllowed,
    406: problems.NotAcceptable,
    412: problems.PreconditionFailed,
    413: problems.BodyTooLarge,
    415: problems.UnsupportedMediaType,
    416: problems.RangeNotSatisfiable,
    422: problems.InvalidInput,
    429: problems.TooManyRequests,
    503: problems.ServiceUnavailable,
}


def install(app: FastAPI) -> None:
    """Answer every kind of failure of `app` with a problem."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(AnswerInstead, _answer_instead)


def answer(problem: Problem, *, instance: str, request_id: str | None) -> Response:
    """The problem as a response."""
    body = orjson.dumps(problem.body(instance=instance, request_id=request_id))
    return Response(body, problem.status, headers=problem.headers, media_type=problem.media_type)


def reply_with(request: Request, problem: Problem) -> Response:
    """The problem as the response to `request`."""
    request.scope.setdefault("state", {})["problem_code"] = problem.code
    name_scheme(request, problem)
    return answer(problem, instance=request.url.path, request_id=request.scope["state"].get("request_id"))


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - Starlette's handlers are typed for any Exception
    return reply_with(request, error)


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    if isinstance(error, Refused):
        return reply_with(request, error.problem)
    kind = _BY_STATUS.get(error.status_code, InternalError if error.status_code >= 500 else MalformedRequest)
    problem = kind()
    problem.headers.update(error.headers or {})
    if error.status_code == 405:
        problem.headers["Allow"] = ", ".join(allowed_methods(request.scope))
    return reply_with(request, problem)


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    return reply_with(request, invalid_input(error.errors(), error.body))


async def _answer_instead(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnswerInstead)  # noqa: S101 - as above
    return error.response


def invalid_body(error: ValidationError, *place: str) -> InvalidInput:
    """Pydantic's findings in the part of the body at `place`, for an operation that reads the body itself."""
    entries = error.errors(include_url=False)
    return invalid_input([{**entry, "loc": ("body", *place, *entry["loc"])} for entry in entries])


def invalid_input(errors: Any, sent: Any = None) -> InvalidInput:
    """Pydantic's findings in the body `sent` as one problem, each once; what was sent is never repeated."""
    return InvalidInput(errors=list(dict.fromkeys(_field_error(error, sent) for error in errors)))


def _field_error(error: dict[str, Any], sent: Any) -> FieldError:
    place, *path = error["loc"] or ("body",)
    rule, detail = broken_rule(error)
    if place in ("query", "path", "header", "cookie"):
        return FieldError(rule, detail, parameter=str(path[0]) if path else str(place))
    if error["type"] in ("union_tag_invalid", "union_tag_not_found"):  # Pydantic's message quotes the tag
        path = [*path, error["ctx"]["discriminator"].strip("'")]
        expected = error["ctx"].get("expected_tags")
        rule = PYDANTICS["literal_error" if expected else "missing"]
        detail = rule.detail(expected=expected)
    return FieldError(rule, detail, pointer="/".join(["#", *(escape(str(part)) for part in _places(path, sent))]))


def _places(path: list[str | int], sent: Any) -> list[str | int]:
    """The path without the tags of unions, which Pydantic names on the way although nothing sent stands there."""
    if not isinstance(sent, dict):
        return path
    places = []
    for part in path[:-1]:
        inside = sent.get(part) if isinstance(sent, dict) else None
        if isinstance(sent, list) and isinstance(part, int):
            inside = sent[part]
        if inside is None:
            continue
        places.append(part)
        sent = inside
    return [*places, *path[-1:]]
