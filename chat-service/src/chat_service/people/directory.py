"""users-service, asked about one person."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends
from pydantic import BaseModel, ConfigDict, ValidationError

from chat_service.people.service import AskName
from shared.clients import ServiceClient, client_of
from shared.problems import ServiceUnavailable


class _Told(BaseModel):
    """What is read of a MEMBERSHIP; more may stand there."""

    model_config = ConfigDict(extra="ignore")

    username: str


def asking(users: ServiceClient) -> AskName:
    async def ask(tenant_id: UUID, user_id: UUID) -> str | None:
        reply = await users.call("GET", f"/internal/memberships/{tenant_id}/{user_id}", timeout_s=2)
        if reply.status_code == 404:
            return None
        if reply.status_code != 200:
            raise ServiceUnavailable("The users service does not tell who this is.")
        try:
            return _Told.model_validate_json(reply.content).username
        except ValidationError:
            raise ServiceUnavailable("The users service's answer cannot be read.") from None

    return ask


async def ask_name(users: Annotated[ServiceClient, client_of("users")]) -> AskName:
    return asking(users)


Directory = Annotated[AskName, Depends(ask_name)]
