"""What operators ask the gateway, and nobody from outside: never reached through the public port."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

from shared.web import errors, health


def admin_application(checks: health.HealthChecks, shown_settings: Callable[[], dict[str, Any]]) -> FastAPI:
    app = FastAPI(title="Flotilla gateway, admin", docs_url=None, redoc_url=None, openapi_url=None)
    errors.install(app)
    health.install(app, checks, shown_settings)
    return app
