from collections.abc import Mapping
from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class PresenceQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    room_id: UUID = Field(examples=["01890a5d-ac96-774b-bcce-b302099a8057"])


class PresentUser(BaseModel):
    id: UUID
    username: str = Field(examples=["ann"])


class PresenceOut(BaseModel):
    """Who is connected to the room now, by name."""

    room_id: UUID
    users: list[PresentUser]

    @classmethod
    def of(cls, room_id: UUID, users: Mapping[UUID, str]) -> Self:
        by_name = sorted(users.items(), key=lambda user: (user[1], user[0]))
        return cls(room_id=room_id, users=[PresentUser(id=id_, username=name) for id_, name in by_name])
