"""Events as the inbox worker hands them to their handlers: the way in which users-service's facts arrive."""

from typing import Any
from uuid import UUID

from auth_service.app import service as auth
from shared.data.database import Database
from shared.events.event import Envelope
from shared.ids import new_id
from shared.testing.fakes import FakeUsers

from .door import Door


async def received(
    database: Database, kind: str, subject: UUID, version: int, data: dict[str, Any], tenant: UUID
) -> None:
    """One event of users-service, such as `tenant.updated`."""
    envelope = Envelope.model_validate(
        {
            "id": new_id(),
            "source": "/users",
            "type": f"{kind}.v1",
            "subject": subject,
            "time": "2026-01-01T00:00:00Z",
            "tenantid": tenant,
            "subjectversion": version,
            "data": data,
        }
    )
    handler = auth.handlers.get(envelope.type)
    assert handler is not None
    async with database.transaction(tenant) as db:
        await handler.handle(db, handler.event.of(envelope))


async def chosen_settings(door: Door, users: FakeUsers, slug: str, settings: Any, *, version: int = 2) -> None:
    """The tenant's settings arrive in an event; None: of a release that has none."""
    tenant = users.tenants[slug]
    data = {"slug": slug, "name": tenant["name"], "tier": "free", "status": "active", "settings": settings}
    tenant["version"] = version
    if settings is not None:
        tenant["settings"] = settings
    await received(door.database, "tenant.updated", UUID(tenant["id"]), version, data, UUID(tenant["id"]))
