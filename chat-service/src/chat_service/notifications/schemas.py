"""A notification as a person sees it, the same by HTTP and over the WebSocket."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.web.paging import ListQuery


class NotificationOut(BaseModel):
    """`data` holds the ids of what it is about, such as `job_id`; `seq` counts the person's notifications."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    seq: int
    kind: str
    title: str
    body: str
    data: dict[str, Any]
    created_at: datetime
    read_at: datetime | None


class NotificationQuery(ListQuery):
    unread: bool | None = Field(default=None, description="true: only unread ones; false: only read ones.")
    kind: list[str] = Field(default_factory=list, max_length=20)
