"""Rooms and their members as clients send and see them."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from chat_service.rooms.models import RoomKind
from shared.text import NAME
from shared.web.json_input import Input
from shared.web.paging import ListQuery

RoomName = Annotated[str, Field(min_length=1, max_length=100), NAME]


class NamedRoomIn(Input):
    """A room that people join: a public one is open to the whole tenant and its name is unique there."""

    model_config = ConfigDict(json_schema_extra={"example": {"kind": "public", "name": "harbour"}})

    kind: Literal["public", "private"]
    name: RoomName


class DirectRoomIn(Input):
    """A conversation of two people: the same two people always get the same room."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"kind": "direct", "user_id": "01890a5d-ac96-774b-bcce-b302099a8057"}}
    )

    kind: Literal["direct"]
    user_id: UUID


RoomIn = Annotated[NamedRoomIn | DirectRoomIn, Field(discriminator="kind")]


class RoomOut(BaseModel):
    """`epoch` changes when numbering restarts after a restore; `last_seq` is the newest message.

    A direct room's name is null.
    """

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str | None = Field(examples=["harbour"])
    kind: RoomKind
    epoch: str = Field(examples=["1"])
    last_seq: int = Field(examples=[42])
    created_at: datetime


class RoomQuery(ListQuery):
    kind: list[RoomKind] = Field(default_factory=list, max_length=3, description="Rooms of one of these kinds.")


class MemberOut(BaseModel):
    """`created_at` is when the person became a member."""

    model_config = ConfigDict(from_attributes=True)

    room_id: UUID
    user_id: UUID
    username: str = Field(examples=["ann"])
    created_at: datetime
