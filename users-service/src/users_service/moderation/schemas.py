"""Reports as clients send and see them."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.text import PLAIN_TEXT
from shared.web.json_input import Input
from shared.web.paging import ListQuery

_EXAMPLE: Final[dict[str, Any]] = {
    "subject_type": "post",
    "subject_id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "reason": "It advertises something.",
}

SubjectType = Literal["post", "user", "file"]
Action = Literal["dismiss", "remove", "suspend"]
Text = Annotated[str, Field(min_length=3, max_length=1000), PLAIN_TEXT]


class ReportIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    subject_type: SubjectType
    subject_id: UUID
    reason: Text


class ResolutionIn(Input):
    """What is done: nothing, the post or file is removed, or the membership of its owner is suspended."""

    model_config = ConfigDict(json_schema_extra={"example": {"action": "dismiss", "note": "It breaks no rule."}})

    action: Action
    note: Text | None = None


class ReportOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    reporter_id: UUID
    subject_type: SubjectType
    subject_id: UUID
    owner_id: UUID = Field(description="Whose post or file it is; of a report about a person, that person.")
    reason: str = Field(examples=["It advertises something."])
    status: Literal["open", "resolved"]
    action: Action | None = Field(examples=["dismiss"])
    note: str | None = Field(examples=["It breaks no rule."])
    resolved_by: UUID | None
    resolved_at: datetime | None
    created_at: datetime


class ReportQuery(ListQuery):
    status: Literal["open", "resolved"] | None = None
    subject_type: list[SubjectType] = Field(default_factory=list, max_length=3)
