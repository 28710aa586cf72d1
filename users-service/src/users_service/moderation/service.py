"""The rules of reports: who may report what, and what resolving one does."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared.field_errors import FieldRule
from shared.identity.principal import Principal, tenant_of
from shared.ids import new_id
from shared.problems import AllowWrite, Conflict, InvalidInput, NotFound
from shared.web.paging import by_cursor
from users_service.files import service as files
from users_service.files.service import FileNotFound
from users_service.members import service as members
from users_service.moderation import models
from users_service.moderation.models import Report
from users_service.moderation.schemas import ReportIn, ReportQuery, ResolutionIn
from users_service.posts import service as posts
from users_service.posts.service import PostNotFound
from users_service.tenants.models import find_membership
from users_service.tenants.service import authorize_tenant_write, authorize_write, require

_SORTABLE = {"created_at": Report.created_at}
_NOT_REMOVABLE = FieldRule("not_removable", "Only posts and files can be removed; suspend a person.")


class SubjectNotFound(NotFound):
    """The subject of a report does not exist, or the caller may not see it."""

    status, title = 404, "No such subject"


class ReportNotFound(NotFound):
    """No report of this tenant has this id."""

    status, title = 404, "No such report"


class AlreadyReported(Conflict):
    """The caller has an open report about the subject."""

    status, title = 409, "Already reported"
    remedy = "Wait until a moderator has resolved it."


class ReportResolved(Conflict):
    """The report was resolved before."""

    status, title = 409, "The report is resolved"


async def report(db: AsyncSession, user: Principal, wanted: ReportIn) -> Report:
    """Report what the caller can see. Raises SubjectNotFound, AlreadyReported."""
    await authorize_write(db, user, "profile:write")
    tenant_id = tenant_of(user)
    values = {
        "tenant_id": tenant_id,
        "id": new_id(),
        "reporter_id": user.user_id,
        "owner_id": await _owner(db, user, wanted),
        **wanted.model_dump(),
    }
    made: Report | None = await db.scalar(insert(Report).values(**values).on_conflict_do_nothing().returning(Report))
    if made is None:
        raise AlreadyReported
    return made


async def _owner(db: AsyncSession, user: Principal, wanted: ReportIn) -> UUID:
    """Whose the subject is, if the caller may see it. Raises SubjectNotFound."""
    try:
        match wanted.subject_type:
            case "post":
                return (await posts.read(db, user, wanted.subject_id))[0].author_id
            case "file":
                return (await files.read(db, user, wanted.subject_id)).owner_id
            case "user":
                membership = await find_membership(db, tenant_of(user), wanted.subject_id)
                if membership is not None and membership.status == "active":
                    return membership.user_id
    except (PostNotFound, FileNotFound):
        pass
    raise SubjectNotFound


async def page(db: AsyncSession, user: Principal, query: ReportQuery) -> tuple[Sequence[Report], str | None]:
    """The tenant's reports, by the list grammar."""
    rows = select(Report).where(Report.tenant_id == tenant_of(user))
    if query.status is not None:
        open_ones = Report.resolved_at.is_(None)
        rows = rows.where(open_ones if query.status == "open" else ~open_ones)
    if query.subject_type:
        rows = rows.where(Report.subject_type.in_(query.subject_type))
    return await by_cursor(db, rows, query, _SORTABLE, Report.id)


async def read(db: AsyncSession, user: Principal, report_id: UUID, *, for_update: bool = False) -> Report:
    """Raises ReportNotFound."""
    found = await models.find(db, user.tenant_id, report_id, for_update=for_update) if user.tenant_id else None
    if found is None:
        raise ReportNotFound
    return found


async def resolve(
    db: AsyncSession, user: Principal, report_id: UUID, wanted: ResolutionIn, allow: AllowWrite
) -> Report:
    """Do what was decided, and record it. A subject that is gone meanwhile counts as removed.

    Raises ReportNotFound, ReportResolved, InvalidInput, and what removing or suspending raises.
    """
    caller = await authorize_tenant_write(db, user, tenant_of(user), "moderation:write")
    found = await read(db, caller, report_id, for_update=True)
    allow(found.version)
    if found.resolved_at is not None:
        raise ReportResolved
    match wanted.action:
        case "remove":
            await _remove(db, caller, found, wanted.note or found.reason)
        case "suspend":
            await members.suspend(db, caller, found.tenant_id, found.owner_id)
    found.action, found.note = wanted.action, wanted.note
    found.resolved_by, found.resolved_at = caller.user_id, func.now()
    found.version += 1
    await db.flush()
    await db.refresh(found)
    return found


async def _remove(db: AsyncSession, caller: Principal, found: Report, reason: str) -> None:
    if found.subject_type == "user":
        raise InvalidInput(errors=[_NOT_REMOVABLE.at("#/action")])
    try:
        if found.subject_type == "post":
            await posts.remove_reported(db, caller, found.subject_id, reason)
        else:
            require(caller, ["files:delete"])  # who has it sees every file: one that is not found is gone
            await files.delete(db, caller, found.subject_id, lambda _version: None)
    except (PostNotFound, FileNotFound):
        pass
