"""A message as clients see it, the same by HTTP and over the WebSocket."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from chat_service.messages.models import Message
from shared.field_errors import FieldRule
from shared.text import TEXT
from shared.web.json_input import Input

MAX_TEXT = 4000
MAX_CLIENT_ID = 64

Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT, strict=True), TEXT]
ClientId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_CLIENT_ID, strict=True)]


class MessageIn(Input):
    """`client_id` is the sender's own name for the message: sent again, it is still one message."""

    model_config = ConfigDict(json_schema_extra={"example": {"text": "Ahoy.", "client_id": "a-1"}})

    text: Text
    client_id: ClientId


class Sender(BaseModel):
    id: UUID
    username: str = Field(examples=["ann"])


class MessageOut(BaseModel):
    """`sender` is null and `text` empty where the sender's data was erased; the number stays."""

    room_id: UUID
    seq: int
    id: UUID
    client_id: str = Field(examples=["a-1"])
    sender: Sender | None
    text: str = Field(examples=["Ahoy."])
    sent_at: datetime

    @classmethod
    def of(cls, message: Message) -> Self:
        sender = None
        if message.sender_id is not None:
            sender = Sender(id=message.sender_id, username=message.sender_username or "")
        return cls(
            room_id=message.room_id,
            seq=message.seq,
            id=message.id,
            client_id=message.client_id,
            sender=sender,
            text=message.text,
            sent_at=message.sent_at,
        )


ONE_DIRECTION = FieldRule("one_direction", "Must not have both `after` and `before`.")


class HistoryQuery(BaseModel):
    """`after` reads forward, `before` back; neither: the newest."""

    model_config = ConfigDict(extra="forbid")

    after: int | None = Field(default=None, ge=0, le=2**63 - 1)
    before: int | None = Field(default=None, ge=0, le=2**63 - 1)
    limit: int = Field(default=50, ge=1, le=200)

    @model_validator(mode="after")
    def _one_direction(self) -> Self:
        if self.after is not None and self.before is not None:
            raise ONE_DIRECTION.broken()
        return self


class History(BaseModel):
    """Oldest first. `has_more` speaks of the direction asked: newer ones with `after`, older ones otherwise."""

    items: list[MessageOut]
    has_more: bool
