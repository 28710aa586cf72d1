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
    kind: str = Field(examples=["job.completed"])
    title: str = Field(examples=["Your job is done"])
    body: str = Field(examples=["The report is ready."])
    data: dict[str, Any] = Field(examples=[{"job_id": "01890a5d-ac96-774b-bcce-b302099a8057"}])
    created_at: datetime
    read_at: datetime | None


class NotificationQuery(ListQuery):
    unread: bool | None = Field(default=None, description="true: only unread ones; false: only read ones.")
    kind: list[str] = Field(default_factory=list, max_length=20)
