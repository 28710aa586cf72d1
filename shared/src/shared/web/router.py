"""`Router`: FastAPI's router whose routes read bodies as strict JSON, up to a limit, and notice one that is cut off."""

from collections.abc import AsyncGenerator, Callable, Coroutine
from inspect import isasyncgenfunction, iscoroutinefunction, isroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from shared.problems import BodyTooLarge, MalformedRequest, Problem
from shared.web import json_input
from shared.web.answers import Refused


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

    async def stream(self) -> AsyncGenerator[bytes, None]:
        limit_bytes, seen_bytes = self._limit_bytes(), 0
        declared = self.headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > limit_bytes:
            raise self._too_large(limit_bytes)
        try:
            async for chunk in super().stream():
                seen_bytes += len(chunk)
                if seen_bytes > limit_bytes:
                    raise self._too_large(limit_bytes)
                yield chunk
        except ClientDisconnect:
            raise Refused(MalformedRequest("The body was cut off; nothing was stored.")) from None

    def _limit_bytes(self) -> int:
        if self.max_body_bytes is None:
            limit: int = self.app.state.parts.settings.server.max_body_bytes
            return limit
        return self.max_body_bytes

    @staticmethod
    def _too_large(limit_bytes: int) -> Refused:
        return Refused(BodyTooLarge(f"This operation takes bodies of at most {limit_bytes} bytes."))


class StrictRoute(APIRoute):
    """Takes FastAPI's own `max_body_size`, and answers it as a problem (Starlette would send plain text)."""

    def __init__(self, *args: Any, max_body_size: int | None = None, **options: Any) -> None:
        self._max_body_bytes = max_body_size
        super().__init__(*args, **options)
        _check_on_the_loop(self.dependant)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def read_strictly(request: Request) -> Response:
            strict = StrictRequest(request.scope, request.receive)
            strict.max_body_bytes = self._max_body_bytes
            return await handler(strict)

        return read_strictly


def _check_on_the_loop(dependant: Dependant) -> None:
    """FastAPI runs plain functions in threads, which costs more than most of them do and makes them race."""
    for needed in dependant.dependencies:
        call = needed.call if isroutine(needed.call) else type(needed.call).__call__
        if not (iscoroutinefunction(call) or isasyncgenfunction(call)):
            raise TypeError(f"the dependency {needed.call!r} must be a coroutine function")
        _check_on_the_loop(needed)


class Router(APIRouter):
    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=StrictRoute, **options)
