"""The events that are logged, by the person that each is about."""

from typing import ClassVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from shared.events import Consumed, EventHandlers
from users_service.activity import service

handlers = EventHandlers()


class Logged(Consumed):
    """An event about one person."""

    @property
    def person(self) -> UUID:
        """By default, the event's subject."""
        return self.subject


class _OfUser(Logged):
    user_id: UUID

    @property
    def person(self) -> UUID:
        return self.user_id


class _OfOwner(Logged):
    owner_id: UUID

    @property
    def person(self) -> UUID:
        return self.owner_id


class _OfAuthor(Logged):
    author_id: UUID

    @property
    def person(self) -> UUID:
        return self.author_id


class SessionRevoked(_OfUser):
    type: ClassVar[str] = "session.revoked.v1"
    reason: str


class _Membership(_OfUser):
    roles: list[str]
    status: str


class MembershipGranted(_Membership):
    type: ClassVar[str] = "membership.granted.v1"


class MembershipChanged(_Membership):
    type: ClassVar[str] = "membership.changed.v1"


class MembershipRevoked(_Membership):
    type: ClassVar[str] = "membership.revoked.v1"


class UserUpdated(Logged):
    type: ClassVar[str] = "user.updated.v1"


class FileUploaded(_OfOwner):
    type: ClassVar[str] = "file.uploaded.v1"
    content_type: str
    size_bytes: int


class FileDeleted(_OfOwner):
    type: ClassVar[str] = "file.deleted.v1"


class PostPublished(_OfAuthor):
    """follows/handlers.py logs it, and notifies the author's followers."""

    type: ClassVar[str] = "post.published.v1"


class PostRemoved(_OfAuthor):
    type: ClassVar[str] = "post.removed.v1"
    removed_by: UUID


class _Job(_OfUser):
    kind: str


class JobAccepted(_Job):
    type: ClassVar[str] = "job.accepted.v1"


class JobCompleted(_Job):
    type: ClassVar[str] = "job.completed.v1"


class JobFailed(_Job):
    type: ClassVar[str] = "job.failed.v1"
    code: str


class JobCancelled(_Job):
    type: ClassVar[str] = "job.cancelled.v1"


async def log_event(db: AsyncSession, event: Logged) -> None:
    data = event.model_dump(mode="json", exclude={*Consumed.model_fields, "user_id", "owner_id", "author_id"})
    await service.record(db, event, event.person, data)


_LOGGED: tuple[type[Logged], ...] = (
    *(SessionRevoked, MembershipGranted, MembershipChanged, MembershipRevoked, UserUpdated, FileUploaded, FileDeleted),
    *(PostRemoved, JobAccepted, JobCompleted, JobFailed, JobCancelled),
)
for logged in _LOGGED:
    handlers.on(logged)(log_event)
