"""`Router`: FastAPI's router whose routes read bodies as strict JSON."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from shared.problems import MalformedRequest, Problem
from shared.web import json_input
from shared.web.answers import Refused


class StrictRequest(Request):
    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            try:
                self._json = await json_input.parse(await self.body())
            except Problem as problem:
                raise Refused(problem) from None
        return self._json

    async def body(self) -> bytes:
        try:
            return await super().body()
        except ClientDisconnect:
            raise Refused(MalformedRequest("The body was cut off; nothing was stored.")) from None


class StrictRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def read_strictly(request: Request) -> Response:
            return await handler(StrictRequest(request.scope, request.receive))

        return read_strictly


class Router(APIRouter):
    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=StrictRoute, **options)
