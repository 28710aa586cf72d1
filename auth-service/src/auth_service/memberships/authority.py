"""What users-service answers about tenants and memberships: the questions that this service may ask it."""

from datetime import datetime
from typing import Literal, TypeVar
from uuid import UUID

import structlog
from pydantic import BaseModel, ValidationError

from shared.clients import ServiceClient
from shared.problems import ServiceUnavailable

log = structlog.get_logger()


class TenantReply(BaseModel):
    id: UUID
    slug: str
    name: str
    tier: str
    status: str


class MembershipReply(BaseModel):
    """A membership as users-service knows it now; fields that are not read here are ignored."""

    id: UUID
    user_id: UUID
    tenant: TenantReply
    roles: list[str]
    status: Literal["invited", "active", "suspended"]
    version: int
    created_at: datetime


class _Memberships(BaseModel):
    items: list[MembershipReply]


class UsersReplyUnreadable(ServiceUnavailable):
    """The users service answered what this release cannot read."""

    status, title = 503, "The users service cannot be understood right now"


async def memberships_of(users: ServiceClient, user_id: UUID) -> list[MembershipReply]:
    """Every membership of the person that has not ended. Raises ServiceUnavailable."""
    reply = await users.call("GET", "/internal/memberships", params={"user_id": str(user_id)})
    return read_reply(_Memberships, reply.status_code, reply.content).items


async def membership(users: ServiceClient, tenant_id: UUID, user_id: UUID) -> MembershipReply | None:
    """The person's membership in the tenant; None where there is none or it has ended. Raises ServiceUnavailable."""
    reply = await users.call("GET", f"/internal/memberships/{tenant_id}/{user_id}")
    if reply.status_code == 404:
        return None
    return read_reply(MembershipReply, reply.status_code, reply.content)


async def accept(users: ServiceClient, tenant_id: UUID, user_id: UUID) -> MembershipReply | None:
    """Take up an invitation; None where it is gone. Raises ServiceUnavailable."""
    reply = await users.call("POST", f"/internal/memberships/{tenant_id}/{user_id}/accept")
    if reply.status_code == 404:
        return None
    return read_reply(MembershipReply, reply.status_code, reply.content)


async def take_back(users: ServiceClient, user_id: UUID) -> bool:
    """Undo a registration, if it was ever made; False where users-service knows its account as active.

    Raises ServiceUnavailable.
    """
    reply = await users.call("DELETE", f"/internal/registrations/{user_id}")
    if reply.status_code == 409 and b'"registration_confirmed"' in reply.content:
        return False
    if reply.status_code != 204:
        log.error("users_refused_a_call", status=reply.status_code)
        raise UsersReplyUnreadable
    return True


M = TypeVar("M", bound=BaseModel)


def read_reply(model: type[M], status: int, content: bytes) -> M:
    """A 2xx answer as `model`. Raises UsersReplyUnreadable for anything else."""
    if not 200 <= status < 300:
        log.error("users_refused_a_call", status=status)
        raise UsersReplyUnreadable
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        log.error("users_reply_unreadable", model=model.__name__, faults=error.error_count())
        raise UsersReplyUnreadable from None
