"""Finding a tenant's people: in the projection first, else by asking users-service, which knows them at once."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from chat_service.people import models
from shared.identity.principal import Principal, tenant_of
from shared.problems import NotFound

ENDED: Final = "ended"


@dataclass(frozen=True, slots=True)
class Membership:
    """What users-service says about a person in a tenant."""

    username: str
    roles: list[str]
    status: str
    version: int


AskMembership = Callable[[UUID, UUID], Awaitable[Membership | None]]
"""Asks users-service about (tenant, person); None where there is no membership. Raises ServiceUnavailable."""


async def username_of(db: AsyncSession, tenant_id: UUID, user_id: UUID, ask: AskMembership) -> str:
    """The name of one of the tenant's people. Raises NotFound for anyone else.

    Somebody who has just been added may come here before the event does: then users-service is asked.
    """
    known = await models.find(db, tenant_id, user_id)
    if known is not None and known.status != ENDED:
        return known.username
    told = await ask(tenant_id, user_id)
    if told is None:
        raise NotFound("Nobody by this id is in the tenant.")
    await models.put(
        db, tenant_id, user_id, username=told.username, roles=told.roles, status=told.status, version=told.version
    )
    return told.username


async def remember(db: AsyncSession, user: Principal) -> None:
    """Know the caller by the token's word until users-service's word arrives."""
    await models.put(
        db,
        tenant_of(user),
        user.user_id,
        username=user.username,
        roles=sorted(user.roles),
        status="active",
        version=0,
    )
