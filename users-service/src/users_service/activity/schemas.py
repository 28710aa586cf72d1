"""The activity log as clients see it."""

from datetime import datetime
from typing import Any, Final, Literal, get_args
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.web.paging import ListQuery

ActivityType = Literal[
    "session.revoked",
    "membership.granted",
    "membership.changed",
    "membership.revoked",
    "user.updated",
    "file.uploaded",
    "file.deleted",
    "post.published",
    "post.removed",
    "job.accepted",
    "job.completed",
    "job.failed",
    "job.cancelled",
]
_MAX_TYPES: Final = len(get_args(ActivityType))


class ActivityOut(BaseModel):
    """What happened (`type`), to what (`subject_id`), and about whom (`user_id`)."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    user_id: UUID
    type: ActivityType
    subject_id: UUID
    data: dict[str, Any] = Field(
        description="What the event says beyond that: ids, kinds, roles; no texts.", examples=[{"kind": "email"}]
    )
    created_at: datetime


class ActivityQuery(ListQuery):
    user_id: UUID | None = Field(
        default=None,
        description="The entries about one person; about others with admin:read.",
        examples=["01890a5d-ac96-774b-bcce-b302099a8057"],
    )
    type: list[ActivityType] = Field(default_factory=list, max_length=_MAX_TYPES, description="One of these types.")
