"""The admin application, and the check of every replica that it shows in the detailed health."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from fastapi import FastAPI

from gateway.proxy.replicas import Origins
from gateway.proxy.upstream import UpstreamClient, UpstreamRequest
from shared.problems import ServiceUnavailable
from shared.web import errors, health
from shared.web.health import Check, HealthChecks

_READYZ: Final = UpstreamRequest(
    method="GET", target="/readyz", headers=[], body=None, content_length=None, timeout_s=1.5
)


def admin_application(checks: HealthChecks, shown_settings: Callable[[], dict[str, Any]]) -> FastAPI:
    """Detailed health, metrics and settings; served on a port that clients do not reach."""
    app = FastAPI(title="Flotilla gateway, admin", docs_url=None, redoc_url=None, openapi_url=None)
    errors.install(app)
    health.install(app, checks, shown_settings)
    return app


def replica_checks(client: UpstreamClient, origins: Mapping[str, Origins]) -> dict[str, Check]:
    """One check per replica (`chat`, `chat-2` …): whether it is ready. The gateway is ready without any of them."""
    return {
        name if number == 1 else f"{name}-{number}": partial(_check_replica, client, origin)
        for name, replicas in origins.items()
        for number, origin in enumerate(replicas, 1)
    }


async def _check_replica(client: UpstreamClient, origin: str) -> str:
    response = await client.send(_READYZ, origin)
    response.close()
    if response.status != 200:
        raise ServiceUnavailable(f"/readyz returned {response.status}.")
    return "ready"
