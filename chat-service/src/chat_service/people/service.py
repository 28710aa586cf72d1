"""Finding a tenant's people: in the projection first, else by asking users-service, which knows them at once."""

from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from chat_service.people import models
from shared.identity.principal import Principal, tenant_of
from shared.problems import NotFound

ENDED: Final = "ended"


AskName = Callable[[UUID, UUID], Awaitable[str | None]]
"""Asks users-service for the name of (tenant, person); None where there is no membership. Raises ServiceUnavailable."""


async def username_of(db: AsyncSession, tenant_id: UUID, user_id: UUID, ask: AskName) -> str:
    """The name of one of the tenant's people. Raises NotFound for anyone else.

    Somebody who has just been added may come here before the event does: then users-service is asked, and nothing is
    stored: two people who add each other would wait for each other's rows.
    """
    known = await models.find(db, tenant_id, user_id)
    if known is not None and known.status != ENDED:
        return known.username
    name = await ask(tenant_id, user_id)
    if name is None:
        raise NotFound("Nobody by this id is in the tenant.")
    return name


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
