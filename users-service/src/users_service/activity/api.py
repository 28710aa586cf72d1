"""The activity log, as JSON by the list grammar or whole as CSV."""

from typing import Annotated, Any, Final

from fastapi import Depends, Header, Query
from fastapi.responses import StreamingResponse

from shared.deps import CurrentUser, DatabaseDep, Db, require_scopes
from shared.problems import InsufficientScope, NoTenant, raises
from shared.web.paging import CursorPage
from shared.web.router import Router
from users_service.activity import service
from users_service.activity.schemas import ActivityOut, ActivityQuery

router = Router(prefix="/api/v1/activity", tags=["activity"], dependencies=[Depends(require_scopes("profile:read"))])

_CSV: Final = "text/csv"
_AS_CSV: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {_CSV: {"schema": {"type": "string"}, "example": "id,created_at,user_id,type,subject_id,data\r\n"}}
    }
}


@router.get("", response_model=CursorPage[ActivityOut], responses=_AS_CSV)
@raises(NoTenant, InsufficientScope)
async def list_activity(
    user: CurrentUser,
    db: Db,
    database: DatabaseDep,
    query: Annotated[ActivityQuery, Query()],
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Any:
    """What happened in the caller's tenant: about the caller, or with admin:read about everyone.

    `Accept: text/csv` returns all entries in one stream instead of a page.
    """
    found, following = await service.page(db, user, query)
    if _accepts_csv(accept):
        headers = {"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="activity.csv"'}
        return StreamingResponse(service.lines(database, user, query), media_type=_CSV, headers=headers)
    return CursorPage(items=[ActivityOut.model_validate(one) for one in found], next_cursor=following)


def _accepts_csv(accept: str) -> bool:
    return any(kind.partition(";")[0].strip().lower() == _CSV for kind in accept.split(","))
