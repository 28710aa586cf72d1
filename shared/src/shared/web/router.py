"""`Router`: FastAPI's router whose routes read bodies as strict JSON, up to a limit, and notice one that is cut off.

Its GET operations answer HEAD too.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from inspect import isasyncgenfunction, iscoroutinefunction, isroutine, signature
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.params import Form
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from shared.problems import BodyTooLarge, MalformedRequest, Problem, RequestTimeout, UnsupportedMediaType
from shared.resources import resources_of
from shared.settings import ServerSettings, ServiceSettings
from shared.web import json_input
from shared.web.connection import has_arrived
from shared.web.early_responses import Refused

METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
_HEAD_ONLY: Final = "flotilla.head_only"


class StrictRequest(Request):
    """A request whose body is refused by a problem. The limit is the route's, else the service's setting."""

    max_body_bytes: int | None = None

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            try:
                self._json = await json_input.parse(await self.body())
            except Problem as problem:
                raise Refused(problem) from None
        return self._json

    async def body(self) -> bytes:
        if has_arrived(self.scope) and not hasattr(self, "_body"):
            self._body = await self._arrived_body()
            return self._body
        try:
            async with asyncio.timeout(self._settings.body_s):
                return await super().body()
        except TimeoutError:
            raise Refused(RequestTimeout("The request body did not arrive in time.")) from None

    async def _arrived_body(self) -> bytes:
        """The body that the server holds whole: it is one message, for which nothing waits."""
        limit_bytes, message = self._declared_within_limit(), await self.receive()
        if message["type"] != "http.request":
            raise Refused(MalformedRequest("The client disconnected; nothing was stored."))
        body: bytes = message["body"]
        if len(body) > limit_bytes:
            raise self._too_large(limit_bytes)
        return body

    async def stream(self) -> AsyncGenerator[bytes, None]:
        limit_bytes, seen_bytes = self._declared_within_limit(), 0
        try:
            async for chunk in super().stream():
                seen_bytes += len(chunk)
                if seen_bytes > limit_bytes:
                    raise self._too_large(limit_bytes)
                yield chunk
        except ClientDisconnect:
            raise Refused(MalformedRequest("The body is incomplete; nothing was stored.")) from None

    def _declared_within_limit(self) -> int:
        """The limit, which the body exceeds at most undeclared. Raises Refused, for a content coding too."""
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refused(UnsupportedMediaType("Send the body without Content-Encoding: it is read as it is."))
        limit_bytes = self._limit_bytes()
        declared = self.headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > limit_bytes:
            raise self._too_large(limit_bytes)
        return limit_bytes

    def _limit_bytes(self) -> int:
        if self.max_body_bytes is None:
            return self._settings.max_body_bytes
        return self.max_body_bytes

    @property
    def _settings(self) -> ServerSettings:
        return resources_of(self).get(ServiceSettings).server

    @staticmethod
    def _too_large(limit_bytes: int) -> Refused:
        return Refused(BodyTooLarge(f"This operation accepts bodies of at most {limit_bytes} bytes."))


class StrictRoute(APIRoute):
    """Reads JSON alone, of FastAPI's own `max_body_size` at most; a refusal is a problem. GET answers HEAD too."""

    def __init__(self, *args: Any, max_body_size: int | None = None, **options: Any) -> None:
        self._max_body_bytes = max_body_size
        super().__init__(*args, **options)
        self._prefix = self.path.partition("{")[0]
        self.is_direct: Final = self.methods == {"POST"} and _takes_the_request_alone(self.dependant)
        if self.is_direct:
            self.app = self._call_directly
        self._media_types = (JSON, MERGE_PATCH) if self.methods == {"PATCH"} else (JSON,)
        _check_on_the_loop(self.dependant)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if not scope["path"].startswith(self._prefix):  # a regular expression only for the few that may match
            return Match.NONE, {}
        return super().matches(self._as_get(scope))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().handle(self._as_get(scope), receive, send)

    def _as_get(self, scope: Scope) -> Scope:
        """HEAD is routed and documented as its GET (RFC 9110, section 9.3.2)."""
        if scope.get("method") == "HEAD" and self.methods == {"GET"}:
            return {**scope, "method": "GET", _HEAD_ONLY: True}
        return scope

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def read_strictly(request: Request) -> Response:
            self._check_media_type(request)
            head_only = _HEAD_ONLY in request.scope
            # The operation sees HEAD again: a Range, for one, is for GET alone.
            scope = {**request.scope, "method": "HEAD"} if head_only else request.scope
            strict = StrictRequest(scope, request.receive)
            strict.max_body_bytes = self._max_body_bytes
            response = await handler(strict)
            if response.status_code == 204:
                del response.headers["content-type"]  # of nothing; FastAPI names one all the same
            return _head_of(response) if head_only else response

        return read_strictly

    async def _call_directly(self, scope: Scope, receive: Receive, send: Send) -> None:
        strict = StrictRequest(scope, receive)
        strict.max_body_bytes = self._max_body_bytes
        response: Response = await self.endpoint(strict)
        await response(scope, receive, send)

    def _check_media_type(self, request: Request) -> None:
        """Raises UnsupportedMediaType for a body that FastAPI would hand on unread, or read as what it is not."""
        if self.body_field is None or isinstance(self.body_field.field_info, Form):
            return
        if "transfer-encoding" not in request.headers and request.headers.get("content-length", "0") == "0":
            return
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in self._media_types:
            raise UnsupportedMediaType(f"This operation accepts {' and '.join(self._media_types)}.")


def _head_of(response: Response) -> Response:
    """Status and headers of `response`, whose content is never asked for: a stream's would have no end."""
    head = Response(status_code=response.status_code)
    head.raw_headers = response.raw_headers
    return head


def allowed_methods(scope: Scope) -> list[str]:
    """All methods that the path takes: Starlette's 405 names those of one route."""
    asked = {"type": "http", "path": scope["path"], "root_path": scope.get("root_path", ""), "headers": []}
    routes = scope["app"].routes
    return [
        method
        for method in METHODS
        if any(route.matches({**asked, "method": method})[0] is Match.FULL for route in routes)
    ]


def _takes_the_request_alone(dependant: Dependant) -> bool:
    """Whether it is `async def operation(request: Request) -> Response`: such a POST is called as it is.

    For hot paths: solving a dozen dependencies costs more than a statement. `response_model` documents the answer.
    """
    declared = (
        dependant.dependencies,
        dependant.path_params,
        dependant.query_params,
        dependant.header_params,
        dependant.cookie_params,
        dependant.body_params,
    )
    takes_request = dependant.request_param_name == "request" and dependant.response_param_name is None
    if dependant.call is None or not takes_request or any(declared):
        return False
    return signature(dependant.call).return_annotation is Response


def _check_on_the_loop(dependant: Dependant) -> None:
    """FastAPI runs plain functions in threads, which costs more than most of them do and makes them race."""
    for needed in dependant.dependencies:
        call = needed.call if isroutine(needed.call) else type(needed.call).__call__
        if not (iscoroutinefunction(call) or isasyncgenfunction(call)):
            raise TypeError(f"the dependency {needed.call!r} must be a coroutine function")
        _check_on_the_loop(needed)


class Router(APIRouter):
    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=StrictRoute, generate_unique_id_function=lambda route: route.name, **options)
