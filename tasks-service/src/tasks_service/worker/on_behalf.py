"""Acting on behalf of a job's owner: their roles now and their files, read from users-service when needed."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Final
from uuid import UUID

from pydantic import BaseModel

from shared.clients import ServiceClient, UnexpectedAnswer
from shared.identity import Principal, scopes_of
from shared.ids import new_id
from shared.problems import Forbidden, InsufficientScope, ServiceUnavailable
from tasks_service.jobs.transitions import Claimed
from tasks_service.kinds.kind import LocalFile
from tasks_service.kinds.problems import FileNotFound, FileTooLarge
from tasks_service.worker.problems import OwnerNotMember, OwnerTenantSuspended, UsersUnavailable

_TOKEN_S: Final = 60  # a new principal is made for each attempt and asked for again with each file
_NO_EPOCH: Final = 2**31 - 1  # a job is not a session: logout-all does not end it, the end of the membership does


class _Tenant(BaseModel):
    slug: str
    status: str
    tier: str
    version: int | None = None


class _Membership(BaseModel):
    username: str
    tenant: _Tenant
    roles: frozenset[str]
    status: str
    version: int


class _File(BaseModel):
    name: str
    content_type: str
    size_bytes: int


async def owner_now(users: ServiceClient, job: Claimed) -> Principal:
    """The job's owner with the roles that they have now and no scope beyond those stored with the job.

    Raises OwnerNotMember, OwnerTenantSuspended, or UsersUnavailable.
    """
    try:
        membership = await users.read(f"/internal/memberships/{job.lease.tenant_id}/{job.user_id}", _Membership)
    except ServiceUnavailable as error:
        raise UsersUnavailable from error
    if membership is None:
        raise OwnerNotMember
    if membership.tenant.status == "suspended":
        raise OwnerTenantSuspended
    if membership.status != "active":
        raise OwnerNotMember
    return replace(
        owner_as_submitted(job),
        username=membership.username,
        tenant_slug=membership.tenant.slug,
        roles=membership.roles,
        scopes=frozenset(job.scopes) & scopes_of(membership.roles),
        tier=membership.tenant.tier,
        membership_version=membership.version,
        tenant_version=membership.tenant.version,
    )


def owner_as_submitted(job: Claimed) -> Principal:
    """The job's owner with the scopes that were stored with the job, whatever has become of them since.

    An operator who submitted the job as the owner stays in `act`, however long ago the impersonation has ended.
    """
    return Principal(
        user_id=job.user_id,
        username=job.username,
        tenant_id=job.lease.tenant_id,
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
        impersonator=job.impersonator_id,
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
    with _reading():
        about = await users.read(f"/api/v1/files/{file_id}", _File, principal=owner)
    if about is None:
        raise FileNotFound
    if about.size_bytes > max_bytes:
        raise FileTooLarge(f"The file has {about.size_bytes} bytes; {max_bytes} are worked on.")
    with NamedTemporaryFile(dir=folder, prefix="file-") as copy:
        with _reading():
            size = await _download(users, owner, file_id, copy)
        if size != about.size_bytes:
            raise UsersUnavailable("The file's content was cut off.")
        yield LocalFile(Path(copy.name), about.name, about.content_type, size)


async def _download(users: ServiceClient, owner: Principal, file_id: UUID, copy: IO[bytes]) -> int:
    """Stream the content into `copy`; the number of bytes."""
    size = 0
    async with users.stream(f"/api/v1/files/{file_id}/content", principal=owner) as chunks:
        async for chunk in chunks:
            size += len(chunk)
            await asyncio.to_thread(copy.write, chunk)
    await asyncio.to_thread(copy.flush)
    return size


@contextmanager
def _reading() -> Iterator[None]:
    """What the answers to the owner's requests for a file mean for the job."""
    try:
        yield
    except UnexpectedAnswer as answer:
        match answer.received_status:
            case 403:
                raise Forbidden("The job's owner may not read files.") from answer
            case 404:
                raise FileNotFound from answer
        raise UsersUnavailable from answer
    except ServiceUnavailable as error:
        raise UsersUnavailable from error
