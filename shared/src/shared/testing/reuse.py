"""One process of the service for test after test: to serve it again takes longer than most tests.

Between tests its database gets the rows of the template again. What a test leaves in memory is dropped by the service's
fixture `forget`, or is an error of that test: a request under way, a process that drains.
"""

from collections.abc import Callable, Mapping, MutableMapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from fastapi import FastAPI

from shared.data.database import Database
from shared.resources import Resources
from shared.settings import ServiceSettings
from shared.testing.databases import Rows, Template
from shared.testing.named_problems import NamedProblems
from shared.testing.running import Served, serving_ready
from shared.testing.waiting import eventually
from shared.web.health import HealthChecks

Forget = Callable[[Resources], None]
"""Drops what a process remembers of a test beside its rows."""

_OWN: Final = "the test needs a process of its own: @pytest.mark.own_process"
_WITHIN_S: Final = 10.0


class _Requests:
    """Counts the requests to `app` that are under way, and watches their problems."""

    def __init__(self, app: FastAPI) -> None:
        self.app, self.problems, self.under_way = app, NamedProblems(app), 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        self.under_way += 1
        try:
            await self.problems(scope, receive, send)
        finally:
            self.under_way -= 1


@dataclass
class _Opened:
    """What the process has opened so far; `stack` closes it."""

    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    rows: Rows | None = None
    values: Mapping[str, Any] | None = None
    settings: ServiceSettings | None = None
    requests: _Requests | None = None
    served: Served | None = None
    resources: dict[type, object] = field(default_factory=dict)
    database: Database | None = None


class ReusedProcess:
    """Made by the first test that uses it, and again after a test that left it unusable.

    Every method raises AssertionError for a test whose settings are not those of the process.
    """

    def __init__(self, service: Any, template: Template, forget: Forget) -> None:
        self._service, self._template, self._forget = service, template, forget
        self._now = _Opened()

    async def database_name(self) -> str:
        now = self._now
        if now.rows is None:
            name = await now.stack.enter_async_context(self._template.cloned())
            now.rows = await now.stack.enter_async_context(self._template.rows(name))
        return now.rows.database

    def settings(self, values: Mapping[str, Any], make: Callable[[Mapping[str, Any]], Any]) -> ServiceSettings:
        now = self._now
        if now.settings is None:
            now.values, now.settings = values, make(values)
        assert values == now.values, _OWN
        return now.settings

    def app(self, settings: ServiceSettings) -> FastAPI:
        now = self._now
        assert settings is now.settings, _OWN
        if now.requests is None:
            now.requests = _Requests(self._service.create_app(settings))
        return now.requests.app

    async def served(self, app: FastAPI) -> Served:
        now = self._now
        assert now.requests is not None, _OWN
        assert app is now.requests.app, _OWN
        if now.served is None:
            now.served = await now.stack.enter_async_context(serving_ready(now.requests, app.title))
            now.resources = dict(now.served.resources._by_type)
        return now.served

    async def database(self, settings: ServiceSettings) -> Database:
        """Another one over the same rows, for tests to look into: the process does not hear what it commits."""
        now = self._now
        assert settings is now.settings, _OWN
        if now.database is None:
            now.database = Database(settings)
            now.stack.push_async_callback(now.database.close)
        return now.database

    async def reset(self) -> None:
        """Make it as good as new. If that fails, the next test gets another process.

        Raises AssertionError where the test left something under way, or met a problem that its operation does not
        name.
        """
        try:
            await self._reset(self._now)
        except BaseException:
            await self.close()
            raise
        if self._now.requests is not None:
            self._now.requests.problems.check()

    async def _reset(self, now: _Opened) -> None:
        if (requests := now.requests) is not None:
            await eventually(lambda: requests.under_way == 0, within_s=_WITHIN_S, saying="the requests have ended")
        if now.rows is not None:
            await eventually(now.rows.restore, within_s=_WITHIN_S, every_s=0.002, saying="no transaction is open")
        if now.served is not None:
            resources = now.served.resources
            assert not resources.get(HealthChecks).draining, f"the process drains; {_OWN}"
            resources._by_type = dict(now.resources)
            self._forget(resources)

    async def close(self) -> None:
        opened, self._now = self._now, _Opened()
        await opened.stack.aclose()


def needs_own_process(request: pytest.FixtureRequest) -> bool:
    """Whether a test cannot share: it says so, its settings are others, or it uses a database without a process.

    In the last case the test plays the process, whose own background work would change the rows.
    """
    changes = any(hasattr(place, "settings_values") for place in (request.module, request.cls))
    is_marked = request.node.get_closest_marker("own_process") is not None
    return changes or is_marked or "served" not in request.fixturenames
