"""Figures of the caller's tenant."""

from typing import Annotated

from fastapi import Depends, Query

from shared.deps import CurrentUser, Db, require_scopes
from shared.problems import InvalidInput, NoTenant, raises
from shared.web.router import Router
from users_service.analytics import service
from users_service.analytics.schemas import Analytics, Dashboard, PeriodQuery

router = Router(prefix="/api/v1", tags=["analytics"])


@router.get("/analytics", dependencies=[Depends(require_scopes("user:read"))])
@raises(NoTenant, InvalidInput)
async def read_analytics(user: CurrentUser, db: Db, query: Annotated[PeriodQuery, Query()]) -> Analytics:
    """Figures of a period; how many of them depends on the caller's scopes."""
    return await service.analytics(db, user, query.period)


@router.get("/admin/dashboard", dependencies=[Depends(require_scopes("admin:read"))])
@raises(NoTenant)
async def read_dashboard(user: CurrentUser, db: Db) -> Dashboard:
    """The tenant as its admins see it first."""
    return await service.dashboard(db, user)
