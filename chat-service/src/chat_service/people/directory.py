"""Reading one person's name from users-service."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends
from pydantic import BaseModel

from chat_service.people.service import AskName
from shared.clients import ServiceClient, client_of


class _Member(BaseModel):
    """The field of a membership that is read here."""

    username: str


def asking(users: ServiceClient) -> AskName:
    async def ask(tenant_id: UUID, user_id: UUID) -> str | None:
        member = await users.read(f"/internal/memberships/{tenant_id}/{user_id}", _Member, timeout_s=2)
        return None if member is None else member.username

    return ask


async def ask_name(users: Annotated[ServiceClient, client_of("users")]) -> AskName:
    return asking(users)


Directory = Annotated[AskName, Depends(ask_name)]
