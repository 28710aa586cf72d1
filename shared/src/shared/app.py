"""A service is a list of its parts; this makes the application of it, and shared/cli.py the command line.

service = Service(name="auth", package="auth_service", settings=AuthSettings, routers=[accounts, sessions], …)
app = service.create_app()          # FastAPI, for a server or a test
cli.run(service)                    # python -m auth_service serve | migrate | db create | events … | openapi
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import typer
from fastapi import APIRouter, FastAPI

from shared.background import supervise
from shared.data.database import Database
from shared.data.production_checks import Refusal, refuse_strong_login
from shared.data.revisions import current, head
from shared.events import Bus, Event, EventHandlers
from shared.events.bus import APART_POLL_S, POLL_S
from shared.events.inbox import InboxWorker
from shared.events.receiver import Receiver
from shared.events.relay import Relay
from shared.identity import requirements
from shared.identity.scopes import Scope
from shared.process import Process, open_process
from shared.settings import ServiceSettings, load
from shared.stores import open_stores
from shared.telemetry import traces
from shared.telemetry.request_log import RequestLog
from shared.web import database_errors, errors, openapi
from shared.web import health as health_pages
from shared.web.cors import Cors
from shared.web.health import HealthChecks
from shared.web.requests import RequestContext
from shared.web.static_paths import StaticPaths

OpenResources = Callable[[Process], Awaitable[None]]


async def _open_nothing(process: Process) -> None:
    """For a service without resources of its own."""


@dataclass(frozen=True)
class Service:
    """What one service is made of."""

    name: str
    package: str
    settings: type[ServiceSettings]
    description: str
    routers: Sequence[APIRouter] = ()
    scopes: Sequence[Scope] = ()
    """The scopes that the service owns."""
    pages: Sequence[str] = ()
    """The paths that a browser is sent to, with what is below them: they get no CORS headers."""
    handlers: EventHandlers = field(default_factory=EventHandlers)
    publishes: Sequence[type[Event]] = ()
    open: OpenResources = _open_nothing
    """Opens the service's own resources and registers its background work and health checks."""
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

    def create_app(
        self, settings: ServiceSettings | None = None, *, health: HealthChecks | None = None, events: bool = True
    ) -> FastAPI:
        """The application; `events=False` leaves the relay and the inbox worker to a process of their own.

        Raises UnknownRequirements for operations that no caller could ever be allowed.
        """
        app = self.assemble(settings, health=health, events=events)
        requirements.refuse_unknown(app.routes)
        return app

    def assemble(
        self, settings: ServiceSettings | None = None, *, health: HealthChecks | None = None, events: bool = True
    ) -> FastAPI:
        """The application, unchecked: the contracts are generated from it, the fleet's lists among them."""
        settings, checks = settings or load(self.settings), health or HealthChecks(self.name)
        request_log = RequestLog(settings.log, self.name)
        provider, exported = traces.configure(settings.telemetry, self.name), bool(settings.telemetry.otlp_endpoint)
        app = FastAPI(
            title=f"Flotilla {self.name}",
            description=self.description,
            version="1",
            lifespan=lambda _: _lifespan(self, settings, checks, request_log, events),
            docs_url="/docs" if settings.docs_shown else None,
            redoc_url=None,
            redirect_slashes=False,
            openapi_url="/openapi.json" if settings.docs_shown else None,
            telemetry={
                "tracer_provider": provider,
                "tracing": exported,
                "exclude": lambda scope: not traces.is_sampled(scope["headers"]),
                "operation_spans": False,
                "metrics": False,
                "logs": False,
            },
        )
        errors.install(app)
        database_errors.install(app)
        openapi.describe(app)
        openapi.install(app)
        health_pages.install(app, checks, settings.shown)
        # As they stand: `include_router` would build each route again, in every process and for every test.
        routes = [route for router in self.routers for route in router.routes]
        app.router.routes[:0] = [StaticPaths(routes)]
        app.router.routes.extend(routes)
        if settings.cors.origins:
            app.add_middleware(Cors, origins=settings.cors.origins, pages=self.pages)
        app.add_middleware(RequestContext, log=request_log, spans=exported)
        return app


@asynccontextmanager
async def _lifespan(
    service: Service, settings: ServiceSettings, checks: HealthChecks, request_log: RequestLog, events: bool
) -> AsyncIterator[dict[str, Any]]:
    """Open everything, run the background work, and hand the resources to every request."""
    async with open_process(settings, checks) as process:
        open_stores(process)
        database = process.get(Database)
        checks.required["database"] = _Schema(database, head(service.migrations), service.refusals(settings))
        await service.open(process)
        if events:
            _run_events(service, process)
        try:
            async with supervise(process.tasks):
                yield {"resources": process.resources}
        finally:
            request_log.flush()


def _run_events(service: Service, process: Process, *, poll_s: float = POLL_S) -> None:
    """Relay, receiver and inbox worker; none when the process has no bus."""
    bus, database = process.resources.find(Bus), process.get(Database)
    if bus is None:
        return
    process.run("relay", Relay(database, bus, service.name, poll_s=poll_s).run)
    if service.handlers.types:
        process.run("receiver", Receiver(database, bus, service.name, service.handlers).run)
        process.run("inbox", InboxWorker(database, service.handlers).run)


async def run_events(service: Service, settings: ServiceSettings) -> None:
    """The relay, the receiver and the inbox worker of `service` until cancelled, without its API."""
    async with open_process(settings, HealthChecks(service.name)) as process:
        open_stores(process)
        _run_events(service, process, poll_s=APART_POLL_S)
        async with supervise(process.tasks):
            await asyncio.Event().wait()


class _Schema:
    """The database answers, is migrated, and is fit to run on: the latter two are checked until they hold once."""

    def __init__(self, database: Database, wanted: str | None, refusals: Sequence[Refusal]) -> None:
        self._database, self._wanted, self._refusals, self._at_head = database, wanted, refusals, False

    async def __call__(self) -> str:
        await self._database.ping()
        if self._at_head:
            return "reachable"
        found = await current(self._database.engine())
        if found != self._wanted:
            raise NotMigrated(found, self._wanted)
        for refuse in self._refusals:
            await refuse(self._database)
        self._at_head = True
        return f"at {found}"


class NotMigrated(Exception):
    """The database is at another revision than this release's; run `migrate`."""
