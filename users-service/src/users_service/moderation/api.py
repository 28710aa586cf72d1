"""Reports to the moderators of the caller's tenant."""

from typing import Annotated

from fastapi import Depends, Query, Response

from shared.deps import Conditions, CurrentUser, Db, ExampleId, refuse_impersonation, require_scopes
from shared.problems import InsufficientScope, InvalidInput, NoTenant, raises
from shared.web.idempotency import IdempotentJson
from shared.web.paging import CursorPage
from shared.web.router import Router
from users_service.members.service import LastAdmin, MemberNotFound, MemberProtected
from users_service.moderation import service
from users_service.moderation.schemas import ReportIn, ReportOut, ReportQuery, ResolutionIn
from users_service.moderation.service import AlreadyReported, ReportNotFound, ReportResolved, SubjectNotFound

router = Router(prefix="/api/v1/moderation/reports", tags=["moderation"])

READ = [Depends(require_scopes("moderation:read"))]
ReportId = ExampleId


@router.post("", status_code=201, dependencies=[Depends(require_scopes("profile:write"))])
@raises(NoTenant, SubjectNotFound, AlreadyReported)
async def create_report(
    body: ReportIn, user: CurrentUser, db: Db, once: IdempotentJson, response: Response
) -> ReportOut:
    """Report a post, a file or a person that the caller can see."""
    report = await service.report(db, user, body)
    shown = ReportOut.model_validate(report)
    headers = {"Location": f"{router.prefix}/{report.id}", "ETag": f'"{report.version}"'}
    await once.keep(shown, 201, headers)
    response.headers.update(headers)
    return shown


@router.get("", dependencies=READ)
@raises(NoTenant)
async def list_reports(user: CurrentUser, db: Db, query: Annotated[ReportQuery, Query()]) -> CursorPage[ReportOut]:
    """The tenant's reports, the newest first."""
    found, following = await service.page(db, user, query)
    return CursorPage(items=[ReportOut.model_validate(one) for one in found], next_cursor=following)


@router.get("/{report_id}", dependencies=READ)
@raises(ReportNotFound)
async def read_report(report_id: ReportId, user: CurrentUser, db: Db, conditions: Conditions) -> ReportOut:
    """One report."""
    report = await service.read(db, user, report_id)
    conditions.shows(report.version)
    return ReportOut.model_validate(report)


@router.post(
    "/{report_id}/resolve",
    dependencies=[Depends(refuse_impersonation), Depends(require_scopes("moderation:write"))],
)
@raises(
    *(NoTenant, ReportNotFound, ReportResolved, MemberNotFound, MemberProtected, LastAdmin),
    *(InsufficientScope, InvalidInput),
)
async def resolve_report(
    report_id: ReportId, body: ResolutionIn, user: CurrentUser, db: Db, conditions: Conditions
) -> ReportOut:
    """Resolve a report. Removing a post needs posts:delete, a file files:delete."""
    report = await service.resolve(db, user, report_id, body, conditions.allow_write)
    conditions.wrote(report.version)
    return ReportOut.model_validate(report)
