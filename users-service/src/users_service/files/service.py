"""Files: the rows that say which objects exist, and whose they are."""

from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from shared.events import outbox
from shared.identity.principal import Principal, tenant_of
from shared.problems import AllowWrite, InsufficientScope, NotFound, ServiceUnavailable
from shared.text import one_line
from shared.web.paging import by_cursor
from users_service.files import models
from users_service.files.events import FileDeleted, FileUploaded
from users_service.files.models import File
from users_service.files.schemas import FileQuery
from users_service.files.storage import Storage
from users_service.files.upload import Received
from users_service.members.service import MemberNotFound
from users_service.tenants.models import find_membership
from users_service.tenants.service import authorize_write

log = structlog.get_logger(__name__)

_SORTABLE = {"created_at": File.created_at, "name": File.name, "size_bytes": File.size_bytes}


class FileNotFound(NotFound):
    """The file does not exist, or the person may not see it."""

    status, title = 404, "No such file"
    remedy = "Check the id, and that the same person uploaded it in the same tenant."


class UploadOverdue(ServiceUnavailable):
    """The upload took so long that its stored part is being removed."""

    status, title = 503, "The upload took too long"


async def add(db: AsyncSession, user: Principal, file_id: UUID, received: Received) -> File:
    """The row of a file whose object is stored. Raises UploadOverdue where the object is being removed already."""
    tenant_id = tenant_of(user)
    if not await models.cancel_removal(db, models.key_of(tenant_id, file_id)):
        raise UploadOverdue
    file = File(
        tenant_id=tenant_id,
        id=file_id,
        owner_id=user.user_id,
        name=received.name,
        content_type=received.content_type,
        size_bytes=received.size_bytes,
        sha256=received.sha256,
        description=received.description,
        category=received.category,
        version=1,
    )
    db.add(file)
    await db.flush()
    await db.refresh(file)
    uploaded = FileUploaded(
        subject=file.id,
        tenant_id=tenant_id,
        owner_id=file.owner_id,
        content_type=file.content_type,
        size_bytes=file.size_bytes,
    )
    outbox.add(db, uploaded)
    return file


async def page(db: AsyncSession, user: Principal, query: FileQuery) -> tuple[Sequence[File], str | None]:
    """The caller's files; with admin:read the tenant's, or one person's. Raises MemberNotFound for a stranger's."""
    rows = select(File).where(File.tenant_id == tenant_of(user))
    if "admin:read" not in user.scopes:
        rows = rows.where(File.owner_id == user.user_id)
    if query.owner_id is not None:
        known = query.owner_id == user.user_id or await find_membership(db, tenant_of(user), query.owner_id)
        if not known:
            raise MemberNotFound
        rows = rows.where(File.owner_id == query.owner_id)
    if query.category:
        as_sent = query.category  # as categories were stored before they had one form
        rows = rows.where(File.category.in_({*as_sent, *map(one_line, as_sent)}))
    if query.content_type:
        rows = rows.where(File.content_type.in_(query.content_type))
    return await by_cursor(db, rows, query, _SORTABLE, File.id)


async def read(db: AsyncSession, user: Principal, file_id: UUID, *, for_update: bool = False) -> File:
    """A file that the caller may see: their own, or with admin:read the tenant's. Raises FileNotFound."""
    file = await models.find(db, user.tenant_id, file_id, for_update=for_update) if user.tenant_id else None
    if file is None or (file.owner_id != user.user_id and "admin:read" not in user.scopes):
        raise FileNotFound
    return file


async def delete(db: AsyncSession, user: Principal, file_id: UUID, allow: AllowWrite) -> None:
    """Delete the row now and have its object removed: files:write for the caller's, files:delete for others'."""
    user = await authorize_write(db, user)
    file = await read(db, user, file_id, for_update=True)
    needed = "files:write" if file.owner_id == user.user_id else "files:delete"
    if needed not in user.scopes:
        raise InsufficientScope(scopes=[needed])
    allow(file.version)
    await db.delete(file)
    models.plan_removal(db, models.key_of(file.tenant_id, file.id))
    outbox.add(
        db,
        FileDeleted(
            subject=file.id, tenant_id=file.tenant_id, subject_version=file.version + 1, owner_id=file.owner_id
        ),
    )


async def content(storage: Storage, file: File, start: int, end: int) -> AsyncIterator[bytes]:
    """The file's bytes from `start` up to `end`. Raises FileNotFound where the object is gone."""
    try:
        return await storage.read(models.key_of(file.tenant_id, file.id), start, end)
    except FileNotFoundError:  # deleted a moment ago, or lost: the log has it, and it looks deleted
        log.warning("file_object_missing", file_id=str(file.id))
        raise FileNotFound from None
