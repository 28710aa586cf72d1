from uuid import UUID

from pydantic import BaseModel


class PresentUser(BaseModel):
    id: UUID
    username: str


class PresenceOut(BaseModel):
    """Who is connected to the room now, by name."""

    room_id: UUID
    users: list[PresentUser]
