"""Liveness, readiness, detailed health, metrics and the safe view of the settings, the same for every process."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from shared.web.router import Router

Check = Callable[[], Awaitable[str]]
"""Looks at one dependency: returns a word about it, raises when it is not well."""

_TIMEOUT_S = 2.0


class DependencyHealth(BaseModel):
    status: str
    detail: str
    duration_ms: float


class Health(BaseModel):
    status: str
    service: str
    checks: dict[str, DependencyHealth]


class HealthChecks:
    """What a process depends on. `required` decide readiness; the rest only show in the details."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.draining = False
        """Whether the process ends: it finishes what it has begun and should be sent nothing else."""
        self.on_drain: list[Callable[[], object]] = []
        """Called on the event loop once draining begins, to end what waits; they neither wait nor raise."""
        self.required: dict[str, Check] = {}
        self.others: dict[str, Check] = {}
        self.before_metrics: list[Callable[[], Awaitable[None]]] = []
        """Refresh gauges that are measured only when `/metrics` is read."""

    def drain(self) -> None:
        """Report `draining` from now on, and end what waits."""
        self.draining = True
        for end in self.on_drain:
            end()

    async def ready(self) -> Health:
        health = await self._look(self.required)
        return health.model_copy(update={"status": "draining"}) if self.draining else health

    async def detailed(self) -> Health:
        return await self._look(self.required | self.others)

    async def _look(self, checks: Mapping[str, Check]) -> Health:
        found = await asyncio.gather(*(_checked(check) for check in checks.values()))
        status = "ok" if all(one.status == "ok" for one in found) else "failing"
        return Health(status=status, service=self.service, checks=dict(zip(checks, found, strict=True)))


async def _checked(check: Check) -> DependencyHealth:
    began = time.perf_counter()
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            status, detail = "ok", await check()
    except Exception as error:  # noqa: BLE001 - whatever a dependency's client raises is that dependency's state
        status, detail = "failing", type(error).__name__
    return DependencyHealth(status=status, detail=detail, duration_ms=round((time.perf_counter() - began) * 1000, 1))


def install(app: FastAPI, checks: HealthChecks, shown_settings: Callable[[], dict[str, Any]]) -> None:
    """Serve the health, metrics and configuration paths."""
    router = Router(include_in_schema=False)

    @router.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz")
    @router.get("/health")
    async def readyz(response: Response) -> Health:
        health = await checks.ready()
        response.status_code = 200 if health.status == "ok" else 503
        if checks.draining:
            response.headers["Connection"] = "close"
        return health

    @router.get("/health/detailed")
    async def detailed() -> Health:
        return await checks.detailed()

    @router.get("/metrics")
    async def metrics() -> Response:
        for refresh in checks.before_metrics:
            await refresh()
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @router.get("/config")
    async def config() -> dict[str, Any]:
        return shown_settings()

    app.include_router(router)
