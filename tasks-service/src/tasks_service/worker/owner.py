"""Acting for a job's owner: who they are now, and their files, both asked of users-service at the time of need."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final
from uuid import UUID

from shared.clients import ServiceClient
from shared.identity import Principal, scopes_of
from shared.ids import new_id
from shared.problems import Forbidden, InsufficientScope, ServiceUnavailable
from tasks_service.kinds.faults import FileNotFound, FileTooLarge
from tasks_service.kinds.kind import LocalFile
from tasks_service.worker.faults import OwnerNotMember, OwnerTenantSuspended, UsersUnavailable
from tasks_service.worker.queue import Claimed

_TOKEN_S: Final = 60  # a new principal is made for each attempt and asked for again with each file
_NO_EPOCH: Final = (
    2**31 - 1
)  # an accepted job is no session: signing out everywhere ends sessions, membership ends jobs
_CHUNK_BYTES: Final = 256 * 1024


async def owner_now(users: ServiceClient, job: Claimed) -> Principal:
    """The job's owner with the roles that they have now and no scope beyond those stored with the job.

    Raises OwnerNotMember, OwnerTenantSuspended, or UsersUnavailable where it cannot be told.
    """
    membership = await _membership(users, job.held.tenant_id, job.user_id)
    if membership["tenant"]["status"] == "suspended":
        raise OwnerTenantSuspended
    if membership["status"] != "active":
        raise OwnerNotMember
    roles = frozenset(membership["roles"])
    return replace(
        owner_as_submitted(job),
        username=membership["username"],
        tenant_slug=membership["tenant"]["slug"],
        roles=roles,
        scopes=frozenset(job.scopes) & scopes_of(roles),
        tier=membership["tenant"].get("tier"),
    )


def owner_as_submitted(job: Claimed) -> Principal:
    """The job's owner with the scopes that were stored with the job, whatever has become of them since."""
    return Principal(
        user_id=job.user_id,
        username=job.username,
        tenant_id=job.held.tenant_id,
        tenant_slug=job.tenant_slug,
        roles=frozenset(),
        scopes=frozenset(job.scopes),
        tier=None,
        session_id=None,
        client_id=job.client_id,
        token_id=str(new_id()),
        user_epoch=_NO_EPOCH,
        expires_at=int(time.time()) + _TOKEN_S,
        issuer="tasks",
    )


def limited_to(scopes: frozenset[str], owner: Principal) -> Principal:
    """The owner with the scopes that their job needs and no others: an admin's job reads the admin's own files only.

    Raises InsufficientScope if the owner's roles no longer grant one of them.
    """
    if missing := sorted(scopes - owner.scopes):
        raise InsufficientScope(scopes=missing)
    return replace(owner, scopes=scopes)


@asynccontextmanager
async def fetched(
    users: ServiceClient, owner: Principal, file_id: UUID, folder: Path, max_bytes: int
) -> AsyncIterator[LocalFile]:
    """The owner's file, copied into `folder` for the length of the block.

    Raises FileNotFound, FileTooLarge, or UsersUnavailable.
    """
    about = await _file(users, owner, file_id)
    if about["size_bytes"] > max_bytes:
        raise FileTooLarge(f"The file has {about['size_bytes']} bytes; {max_bytes} are worked on.")
    with NamedTemporaryFile(dir=folder, prefix="file-") as copy:
        size = await _download(users, owner, file_id, copy)
        if size != about["size_bytes"]:
            raise UsersUnavailable("The file's content was cut off.")
        yield LocalFile(Path(copy.name), about["name"], about.get("content_type") or "", size)


async def _membership(users: ServiceClient, tenant_id: UUID, user_id: UUID) -> dict[str, Any]:
    reply = await _called(users, f"/internal/memberships/{tenant_id}/{user_id}", None)
    if reply.status_code == 404:
        raise OwnerNotMember
    return _json(reply)


async def _file(users: ServiceClient, owner: Principal, file_id: UUID) -> dict[str, Any]:
    reply = await _called(users, f"/api/v1/files/{file_id}", owner)
    _check(reply.status_code)
    return _json(reply)


async def _called(users: ServiceClient, path: str, principal: Principal | None) -> Any:
    try:
        return await users.call("GET", path, principal=principal)
    except ServiceUnavailable as error:
        raise UsersUnavailable from error


async def _download(users: ServiceClient, owner: Principal, file_id: UUID, copy: Any) -> int:
    """Stream the content into `copy`; the number of bytes."""
    size = 0
    try:
        async with users.stream(f"/api/v1/files/{file_id}/content", principal=owner) as reply:
            _check(reply.status_code)
            async for chunk in reply.aiter_bytes(_CHUNK_BYTES):
                size += len(chunk)
                await asyncio.to_thread(copy.write, chunk)
    except ServiceUnavailable as error:
        raise UsersUnavailable from error
    await asyncio.to_thread(copy.flush)
    return size


def _check(status: int) -> None:
    if status == 404:
        raise FileNotFound
    if status == 403:
        raise Forbidden("The job's owner may not read files.")
    if status != 200:
        raise UsersUnavailable(f"The users service answered {status}.")


def _json(reply: Any) -> dict[str, Any]:
    if reply.status_code != 200:
        raise UsersUnavailable(f"The users service answered {reply.status_code}.")
    found: dict[str, Any] = reply.json()
    return found
