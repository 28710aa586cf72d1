"""The admin application: detailed health, metrics and settings."""

from typing import Any

import httpx2
import pytest

from gateway.admin.app import admin_application
from shared.testing.running import running


async def ready_service(scope: Any, receive: Any, send: Any) -> None:
    """A service whose `/readyz` is 200."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
async def admin(open_edge: Any, upstream: Any) -> Any:
    """A client of the admin port of a gateway with one ready and one unreachable replica of chat-service."""
    upstream.handler = ready_service
    async with running(ready_service, lifespan="off") as ready:
        edge = await open_edge(upstreams={"chat": [ready, "http://127.0.0.1:1"]})
        application = admin_application(edge.gateway.checks, edge.gateway.settings.shown)
        async with running(application, lifespan="off") as url, httpx2.AsyncClient(base_url=url) as client:
            yield client


async def test_the_detailed_health_has_a_check_per_replica(admin: Any) -> None:
    checks = (await admin.get("/health/detailed")).json()["checks"]
    assert {name: check["status"] for name, check in checks.items()} == {
        "auth": "ok",
        "users": "ok",
        "chat": "ok",
        "chat-2": "failing",
        "tasks": "ok",
        "cache": "ok",
        "keys": "ok",
        "revocations": "ok",
        "revocations_age": "ok",
    }
    assert (await admin.get("/readyz")).status_code == 200


async def test_metrics_and_settings_are_served_without_secrets(admin: Any, cache_url: str) -> None:
    assert "flotilla_gateway_unreachable_total" in (await admin.get("/metrics")).text
    settings = (await admin.get("/config")).text
    assert cache_url not in settings
