from typing import Annotated

from fastapi import Depends, Query

from auth_service.audit import service
from auth_service.audit.kinds import description
from auth_service.audit.models import SecurityEvent
from auth_service.audit.schemas import AuditQuery, SecurityEventOut
from shared.deps import CurrentUser, Db, refuse_impersonation
from shared.web.paging import CursorPage
from shared.web.router import Router

router = Router(prefix="/auth", tags=["audit"], dependencies=[Depends(refuse_impersonation)])


@router.get("/audit")
async def list_security_events(
    user: CurrentUser, db: Db, query: Annotated[AuditQuery, Query()]
) -> CursorPage[SecurityEventOut]:
    """The security events of the caller's account; with `admin:read` the tenant's too, with `system:read` all."""
    found, next_cursor = await service.page(db, user, query)
    return CursorPage(items=[event_out(event) for event in found], next_cursor=next_cursor)


def event_out(event: SecurityEvent) -> SecurityEventOut:
    return SecurityEventOut(
        id=event.id,
        kind=event.kind,
        description=description(event.kind),
        created_at=event.created_at,
        account_id=event.account_id,
        actor_id=event.actor_id,
        session_id=event.session_id,
        tenant_id=event.tenant_id,
        address=event.address,
        details=event.details,
    )
