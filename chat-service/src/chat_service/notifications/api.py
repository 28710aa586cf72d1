from typing import Annotated

from fastapi import Depends, Query

from chat_service.deps import NotificationId
from chat_service.notifications import service
from chat_service.notifications.schemas import NotificationOut, NotificationQuery
from shared.deps import CurrentUser, Db, require_scopes
from shared.problems import NoTenant, NotFound, raises
from shared.web.paging import CursorPage
from shared.web.router import Router

router = Router(prefix="/api/v1/notifications", tags=["notifications"])


@router.get("", dependencies=[Depends(require_scopes("notifications:read"))])
@raises(NoTenant)
async def list_notifications(
    user: CurrentUser, db: Db, query: Annotated[NotificationQuery, Query()]
) -> CursorPage[NotificationOut]:
    """The caller's own notifications in the tenant of their session."""
    found, following = await service.page(db, user, query)
    return CursorPage(items=[NotificationOut.model_validate(one) for one in found], next_cursor=following)


@router.post("/{notification_id}/read", status_code=204, dependencies=[Depends(require_scopes("notifications:write"))])
@raises(NoTenant, NotFound)
async def mark_read(notification_id: NotificationId, user: CurrentUser, db: Db) -> None:
    """Mark one as read, for all devices; again changes nothing."""
    await service.mark_read(db, user, notification_id)
