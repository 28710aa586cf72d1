"""The dependencies that endpoints name: an endpoint's signature reads as a sentence."""

from typing import Annotated

from fastapi import Depends, Request

from shared.data.session import DatabasePart, Db
from shared.identity.access import CurrentUser, require_scopes
from shared.identity.revocations import Revocations
from shared.web.conditional import Conditions
from shared.web.health import HealthChecks
from shared.web.idempotency import OnceJson
from tasks_service.notices import Notices
from tasks_service.settings import TasksSettings


async def _notices(request: Request) -> Notices:
    found: Notices = request.app.state.notices
    return found


async def _settings(request: Request) -> TasksSettings:
    found: TasksSettings = request.app.state.parts.settings
    return found


async def _revocations(request: Request) -> Revocations | None:
    found: Revocations | None = request.app.state.parts.revocations
    return found


async def _health(request: Request) -> HealthChecks:
    found: HealthChecks = request.app.state.health
    return found


HealthPart = Annotated[HealthChecks, Depends(_health)]
NoticesPart = Annotated[Notices, Depends(_notices)]
RevocationsPart = Annotated[Revocations | None, Depends(_revocations)]
Settings = Annotated[TasksSettings, Depends(_settings)]

__all__ = [
    "Conditions",
    "CurrentUser",
    "DatabasePart",
    "Db",
    "HealthPart",
    "NoticesPart",
    "OnceJson",
    "RevocationsPart",
    "Settings",
    "require_scopes",
]
