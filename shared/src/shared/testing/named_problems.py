"""What an operation answers in a test is what its OpenAPI document names (`shared.problems.raises`)."""

from collections.abc import MutableMapping
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from shared.dev.fleet import fleet, repository
from shared.problems import every_problem
from shared.web.openapi_problems import ANYWHERE, raised


class NamedProblems:
    """Passes requests on to `app`, and keeps what its operations answered beside what they name."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._unnamed: set[str] = set()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)
        route, code = scope.get("route"), scope.get("state", {}).get("problem_code")
        if code is not None and isinstance(route, APIRoute) and _is_documented(route, scope["method"]):
            kind = every_problem()[code]
            if kind not in ANYWHERE and kind.status < 500 and code not in _named(route):
                self._unnamed.add(f"{scope['method']} {route.path}: {kind.__name__}")

    def check(self) -> None:
        """Raises AssertionError for a problem that an operation answered and does not name, since the last check."""
        found, self._unnamed = sorted(self._unnamed), set()
        assert not found, f"not named by `raises`: {found}"


@cache
def _packages() -> frozenset[str]:
    return frozenset(service.package for service in fleet(repository()).values())


def _is_documented(route: APIRoute, method: str) -> bool:
    """Whether it is an operation of a service's document: tests add routes of their own."""
    is_fleets = route.endpoint.__module__.partition(".")[0] in _packages()
    return is_fleets and route.include_in_schema and method in (route.methods or ())


def _named(route: APIRoute) -> set[str]:
    return {problem.code for problem in raised(route.dependant)}
