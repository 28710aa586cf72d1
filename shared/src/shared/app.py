"""A service is a list of its parts; this makes the application of it, and shared/cli.py the command line.

service = Service(name="auth", package="auth_service", settings=AuthSettings, routers=[accounts, sessions], …)
app = service.create_app()          # FastAPI, for a server or a test
cli.run(service)                    # python -m auth_service serve | migrate | db create | events … | openapi
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from pathlib import Path

import typer
from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from sqlalchemy import text

from shared.data.fitness import Refusal, refuse_strong_login
from shared.data.migrations import current, head
from shared.events import Event, EventHandlers
from shared.events.works import event_works
from shared.identity import requirements
from shared.parts import Parts, open_parts
from shared.problems import ServiceUnavailable
from shared.settings import ServiceSettings, load
from shared.supervision import Work, supervised
from shared.telemetry import metrics, traces
from shared.web import errors, health, openapi
from shared.web.requests import RequestContext

Opens = Callable[[FastAPI], AbstractAsyncContextManager[None]]
Works = Callable[[FastAPI], Mapping[str, Work]]


def _no_works(app: FastAPI) -> Mapping[str, Work]:
    return {}


@dataclass(frozen=True)
class Service:
    """What one service is made of."""

    name: str
    package: str
    settings: type[ServiceSettings]
    description: str
    routers: Sequence[APIRouter] = ()
    handlers: EventHandlers = field(default_factory=EventHandlers)
    publishes: Sequence[type[Event]] = ()
    opens: Sequence[Opens] = ()
    """Parts of the service's own, opened after the shared ones and closed before them."""
    works: Works = _no_works
    """Background work of the service's own, by name."""
    refuses: Sequence[Refusal] = ()
    """What production refuses to find in the database."""
    commands: Mapping[str, typer.Typer] = field(default_factory=dict)
    """Verbs of the service's own."""

    @property
    def migrations(self) -> Path:
        return Path(str(files(self.package) / "migrations"))

    def refusals(self, settings: ServiceSettings) -> Sequence[Refusal]:
        """What a process with these settings refuses to find in the database."""
        return [refuse_strong_login, *(self.refuses if settings.guarded else ())]

    def create_app(self, settings: ServiceSettings | None = None, *, events: bool = True) -> FastAPI:
        """The application; `events=False` leaves the relay and the inbox worker to a process of their own.

        Raises UnknownRequirements for operations that no caller could ever be allowed.
        """
        app = self.assemble(settings, events=events)
        requirements.refuse_unknown(app.routes)
        return app

    def assemble(self, settings: ServiceSettings | None = None, *, events: bool = True) -> FastAPI:
        """The application, unchecked: the contracts are generated from it, the fleet's lists among them."""
        settings = settings or load(self.settings)
        provider = traces.configure(settings.telemetry, self.name)
        app = FastAPI(
            title=f"Flotilla {self.name}",
            description=self.description,
            version="1",
            lifespan=lambda app: _lifespan(self, settings, app, events),
            docs_url="/docs" if settings.docs_shown else None,
            redoc_url=None,
            redirect_slashes=False,
            openapi_url="/openapi.json" if settings.docs_shown else None,
            generate_unique_id_function=lambda route: route.name,
            telemetry={"tracer_provider": provider, "operation_spans": False, "metrics": False, "logs": False},
        )
        checks = app.state.health = health.HealthChecks(self.name)
        errors.install(app)
        openapi.describe(app)
        health.install(app, checks, settings.shown)
        for router in self.routers:
            app.include_router(router)
        if settings.cors.origins:
            app.add_middleware(CORSMiddleware, allow_origins=settings.cors.origins, allow_methods=["*"])
        app.add_middleware(RequestContext)
        return app


@asynccontextmanager
async def _lifespan(service: Service, settings: ServiceSettings, app: FastAPI, events: bool) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        parts = app.state.parts = await stack.enter_async_context(open_parts(settings))
        app.state.refresh_metrics = [partial(_measure, parts)]
        _add_checks(service, parts, app.state.health)
        for opens in service.opens:
            await stack.enter_async_context(opens(app))
        works = {"metrics": metrics.sample, **parts.works(), **service.works(app)}
        if events:
            works |= event_works(service, parts)
        await stack.enter_async_context(supervised(works))
        yield


async def run_events(service: Service, settings: ServiceSettings) -> None:
    """The relay, the receiver and the inbox worker of `service`, for ever, without its API."""
    async with open_parts(settings) as parts, supervised(event_works(service, parts)):
        await asyncio.Event().wait()


async def _measure(parts: Parts) -> None:
    for role, connections in parts.database.pool_in_use().items():
        metrics.POOL_IN_USE.labels(role).set(connections)


def _add_checks(service: Service, parts: Parts, checks: health.HealthChecks) -> None:
    """Ready: the database answers at this release's schema, keys and revocations were loaded once.

    Never broker or cache: without them every answer is the same.
    """
    checks.required["database"] = _Schema(parts, head(service.migrations), service.refusals(parts.settings))
    if parts.jwks is not None:
        checks.required["keys"] = _loaded(lambda: parts.jwks is not None and parts.jwks.loaded)
    if (revocations := parts.revocations) is not None:
        checks.required["revocations"] = _loaded(lambda: revocations.loaded)
        checks.others["revocations_age"] = _fresh(lambda: revocations.stale)
    checks.others |= parts.checks()


class _Schema:
    """The database answers, is migrated, and is fit to run on: the latter two are seen once."""

    def __init__(self, parts: Parts, wanted: str | None, refusals: Sequence[Refusal]) -> None:
        self._parts, self._wanted, self._refusals, self._at_head = parts, wanted, refusals, False

    async def __call__(self) -> str:
        async with self._parts.database.engine().connect() as connection:
            if self._at_head:
                await connection.execute(text("SELECT 1"))
                return "reachable"
        found = await current(self._parts.database.engine())
        if found != self._wanted:
            raise NotMigrated(found, self._wanted)
        for refuse in self._refusals:
            await refuse(self._parts.database)
        self._at_head = True
        return f"at {found}"


class NotMigrated(Exception):
    """The database is at another revision than this release's; run `migrate`."""


def _loaded(is_loaded: Callable[[], bool]) -> health.Check:
    async def check() -> str:
        if not is_loaded():
            raise ServiceUnavailable("Not loaded yet.")
        return "loaded"

    return check


def _fresh(is_stale: Callable[[], bool]) -> health.Check:
    async def check() -> str:
        if is_stale():
            raise ServiceUnavailable("The feed has not responded for too long.")
        return "fresh"

    return check
