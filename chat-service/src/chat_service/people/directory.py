"""users-service, asked about one person."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends
from pydantic import BaseModel, ConfigDict, ValidationError

from chat_service.deps import PartsOfProcess
from chat_service.people.service import AskMembership, Membership
from shared.clients import ServiceClient
from shared.problems import ServiceUnavailable


class _Told(BaseModel):
    """What is read of a MEMBERSHIP; more may stand there."""

    model_config = ConfigDict(extra="ignore")

    username: str
    roles: list[str]
    status: str
    version: int


def asking(users: ServiceClient) -> AskMembership:
    async def ask(tenant_id: UUID, user_id: UUID) -> Membership | None:
        reply = await users.call("GET", f"/internal/memberships/{tenant_id}/{user_id}", timeout_s=2)
        if reply.status_code == 404:
            return None
        if reply.status_code != 200:
            raise ServiceUnavailable("The users service does not tell who this is.")
        try:
            told = _Told.model_validate_json(reply.content)
        except ValidationError:
            raise ServiceUnavailable("The users service's answer cannot be read.") from None
        return Membership(told.username, told.roles, told.status, told.version)

    return ask


async def ask_membership(parts: PartsOfProcess) -> AskMembership:
    return asking(parts.client("users"))


Directory = Annotated[AskMembership, Depends(ask_membership)]
