"""The admin application and the health checks that it shows in detail."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from fastapi import FastAPI

from gateway.proxy.replicas import Origins
from gateway.proxy.upstream import UpstreamClient, UpstreamRequest
from shared.identity.access_tokens import AccessTokenVerifier
from shared.identity.revocations import Revocations
from shared.limits import Limiter
from shared.problems import ServiceUnavailable
from shared.web import errors, health
from shared.web.health import Check, HealthChecks

_READYZ: Final = UpstreamRequest(
    method="GET", target="/readyz", headers=[], body=None, content_length=None, timeout_s=1.5
)


def admin_application(checks: HealthChecks, shown_settings: Callable[[], dict[str, Any]]) -> FastAPI:
    """Health in detail, metrics and settings; served on a port that no client reaches."""
    app = FastAPI(title="Flotilla gateway, admin", docs_url=None, redoc_url=None, openapi_url=None)
    errors.install(app)
    health.install(app, checks, shown_settings)
    return app


def readiness_checks(access_tokens: AccessTokenVerifier, revocations: Revocations) -> Mapping[str, Check]:
    """What `/readyz` requires: keys and revocations were loaded once. The cache is optional: each gateway falls back to
    its own share of each limit."""

    async def keys() -> str:
        if not access_tokens.loaded:
            raise ServiceUnavailable("The keys are not loaded yet.")
        return "loaded"

    async def feeds() -> str:
        if not revocations.loaded:
            raise ServiceUnavailable("The revocations are not loaded yet.")
        return f"{revocations.age_s:.1f} s old"

    return {"keys": keys, "revocations": feeds}


def detail_checks(
    limiter: Limiter, client: UpstreamClient, origins: Mapping[str, Origins], revocations: Revocations
) -> Mapping[str, Check]:
    """What only the detailed health shows: the cache, the feeds' age, and whether each replica (`chat-2`) is ready."""
    checks: dict[str, Check] = {
        name if number == 1 else f"{name}-{number}": _replica_ready(client, origin)
        for name, replicas in origins.items()
        for number, origin in enumerate(replicas, 1)
    }

    async def feeds() -> str:
        if revocations.stale:
            raise ServiceUnavailable("The revocation feeds are stale.")
        return "fresh"

    checks["revocations_age"] = feeds
    if (connection := limiter.connection) is not None:

        async def cache() -> str:
            await connection.call("PING")
            return "reachable"

        checks["cache"] = cache
    return checks


def _replica_ready(client: UpstreamClient, origin: str) -> Check:
    async def check() -> str:
        response = await client.send(_READYZ, origin)
        response.close()
        if response.status != 200:
            raise ServiceUnavailable(f"/readyz returned {response.status}.")
        return "ready"

    return check
