"""Routes whose path has no parameters are found by a look-up: trying each of a hundred in turn costs a statement."""

from collections.abc import Sequence

from fastapi import APIRouter
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from shared.web.router import StrictRoute


class StaticPaths(BaseRoute):
    """Stands first among an application's routes and hands a request on to the route of its very method and path.

    It takes nothing else, so every other request, and every refusal, is found as without it. An operation that is
    called directly needs no router in between, unless the request has a span, which the router names.
    """

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routers: dict[tuple[str, str], APIRouter] = {}
        self._direct: dict[str, StrictRoute] = {}
        for route in routes:
            if isinstance(route, Route) and "{" not in route.path:
                methods = route.methods or set()
                if isinstance(route, StrictRoute) and route.is_direct:
                    self._direct.setdefault(route.path, route)
                for method in methods | ({"HEAD"} if methods == {"GET"} else set()):
                    self._routers.setdefault((method, route.path), APIRouter(routes=[route], redirect_slashes=False))

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        found = scope["type"] == "http" and (scope["method"], scope["path"]) in self._routers
        return (Match.FULL if found else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        direct = self._direct.get(scope["path"]) if scope["method"] == "POST" else None
        if direct is None or scope.get("fastapi.telemetry") is not None:
            await self._routers[scope["method"], scope["path"]].app(scope, receive, send)
            return
        scope["route"], scope["endpoint"], scope["path_params"] = direct, direct.endpoint, {}
        await direct.app(scope, receive, send)
