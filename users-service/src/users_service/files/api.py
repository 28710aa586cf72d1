import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from shared.deps import Conditions, CurrentUser, DatabaseDep, Db, require_any_scope, require_scopes, resource
from shared.identity.principal import tenant_of
from shared.ids import new_id
from shared.problems import (
    BodyTooLarge,
    InvalidInput,
    MalformedRequest,
    NoTenant,
    Problem,
    RangeNotSatisfiable,
    UnsupportedMediaType,
    raises,
)
from shared.web.idempotency import IdempotentUpload
from shared.web.paging import CursorPage
from shared.web.router import Router
from users_service.deps import FileId, Settings
from users_service.files import flow, models, service
from users_service.files.models import File
from users_service.files.names import disposition
from users_service.files.ranges import asked_range
from users_service.files.schemas import UPLOAD_FORM, FileOut, FileQuery
from users_service.files.service import FileNotFound
from users_service.files.storage import Storage, StorageUnavailable
from users_service.files.upload import OVERHEAD_BYTES, Received, Upload, too_large
from users_service.members.service import MemberNotFound

router = Router(prefix="/api/v1/files", tags=["files"])

READ, WRITE = [Depends(require_scopes("files:read"))], [Depends(require_scopes("files:write"))]
_CACHE_CONTROL: Final = "private, no-cache"  # kept, but asked for again each time: access may have ended
_COUNTED_HERE: Final = 2**62  # the upload keeps its own limit, byte by byte, and answers it as a problem


class UploadStalled(Problem):
    """No byte of the upload arrived for a while, so it was aborted; nothing was stored."""

    status, title = 408, "The upload stalled"
    remedy = "Upload again; with the same Idempotency-Key, nothing is stored twice."


StorageDep = Annotated[Storage, resource(Storage)]


@router.post("", status_code=201, dependencies=WRITE, openapi_extra=UPLOAD_FORM, max_body_size=_COUNTED_HERE)
@raises(NoTenant, MalformedRequest, UnsupportedMediaType, UploadStalled, BodyTooLarge, InvalidInput, StorageUnavailable)
async def upload_file(
    request: Request,
    user: CurrentUser,
    database: DatabaseDep,
    storage: StorageDep,
    settings: Settings,
    once: IdempotentUpload,
    db: Db,
    response: Response,
) -> FileOut:
    """Upload one file as multipart/form-data: `file`, and `description` and `category` where wanted."""
    file_id = new_id()
    key = models.key_of(tenant_of(user), file_id)
    async with flow.writing(db, database, storage, key, settings.files.upload_max_s) as writer:
        upload = Upload(request.headers.get("content-type", ""), writer, settings.files.max_bytes)
        received = await _receive(request, upload, settings)
        await writer.close()
        await once.begin(received.fingerprint)
        file = await service.add(db, user, file_id, received)
        shown = FileOut.model_validate(file)
        headers = {"Location": f"/api/v1/files/{file.id}", "ETag": f'"{file.version}"'}
        await once.keep(shown, 201, headers)
    response.headers.update(headers)
    return shown


async def _receive(request: Request, upload: Upload, settings: Settings) -> Received:
    """Take the body in; one that is cut off is refused by the request itself. Raises UploadStalled, BodyTooLarge."""
    if int(request.headers.get("content-length", "0")) > settings.files.max_bytes + OVERHEAD_BYTES:
        raise too_large(settings.files.max_bytes)
    async for chunk in _never_silent(request.stream(), settings.files.upload_idle_s):
        await upload.feed(chunk)
    return upload.received()


async def _never_silent(chunks: AsyncIterator[bytes], idle_s: float) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(idle_s):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise UploadStalled from None
        if chunk is None:
            return
        yield chunk


@router.get("", dependencies=READ)
@raises(NoTenant, MemberNotFound)
async def list_files(user: CurrentUser, db: Db, query: Annotated[FileQuery, Query()]) -> CursorPage[FileOut]:
    """The caller's files; with admin:read those of the whole tenant."""
    found, following = await service.page(db, user, query)
    return CursorPage(items=[FileOut.model_validate(file) for file in found], next_cursor=following)


@router.get("/{file_id}", dependencies=READ)
@raises(FileNotFound)
async def read_file(file_id: FileId, user: CurrentUser, db: Db, conditions: Conditions) -> FileOut:
    """What is known of one file."""
    file = await service.read(db, user, file_id)
    conditions.shows(file.version)
    return FileOut.model_validate(file)


@router.delete("/{file_id}", status_code=204, dependencies=[Depends(require_any_scope("files:write", "files:delete"))])
@raises(FileNotFound, NoTenant)
async def delete_file(file_id: FileId, user: CurrentUser, db: Db, conditions: Conditions) -> None:
    """Delete the caller's file (files:write) or any file of the tenant (files:delete)."""
    await service.delete(db, user, file_id, conditions.allow_write)


@router.get(
    "/{file_id}/content",
    dependencies=READ,
    response_class=Response,
    responses={
        200: {"description": "All bytes.", "content": {"application/octet-stream": {}}},
        206: {"description": "The range asked for.", "content": {"application/octet-stream": {}}},
    },
)
@raises(FileNotFound, RangeNotSatisfiable, StorageUnavailable)
async def read_content(
    request: Request, file_id: FileId, user: CurrentUser, storage: StorageDep, db: Db, conditions: Conditions
) -> Response:
    """The file's bytes, whole or one `Range` of them; the ETag is their sha256."""
    file = await service.read(db, user, file_id)
    conditions.shows(file.sha256, headers={"Cache-Control": _CACHE_CONTROL})
    part = _asked(request, file)
    start, end = part or (0, file.size_bytes)
    headers = _headers(file, part)
    if start == end:
        return Response(headers=headers, media_type=file.content_type)
    sent = await service.content(storage, file, start, end)
    return StreamingResponse(sent, 206 if part else 200, headers, media_type=file.content_type)


def _asked(request: Request, file: File) -> tuple[int, int] | None:
    """The range to send; all where If-Range names other bytes, and for HEAD (RFC 9110, sections 13.1.5 and 14.2)."""
    if request.method == "HEAD" or request.headers.get("if-range", f'"{file.sha256}"') != f'"{file.sha256}"':
        return None
    return asked_range(request.headers.get("range"), file.size_bytes)


def _headers(file: File, part: tuple[int, int] | None) -> dict[str, str]:
    start, end = part or (0, file.size_bytes)
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": _CACHE_CONTROL,
        "Content-Disposition": disposition(file.name),
        "Content-Length": str(end - start),
        "Content-Security-Policy": "default-src 'none'; sandbox",  # were it shown after all, nothing in it runs
        "ETag": f'"{file.sha256}"',
        "X-Content-Type-Options": "nosniff",
    }
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size_bytes}"
    return headers
