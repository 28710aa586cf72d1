"""Finding a tenant's people: in the projection first, else by asking users-service, which knows them at once."""

from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from chat_service.people import models
from shared.identity.principal import Principal, tenant_of
from shared.problems import InvalidToken, NotFound

ENDED: Final = "ended"


AskName = Callable[[UUID, UUID], Awaitable[str | None]]
"""Asks users-service for the name of (tenant, person); None where there is no membership. Raises ServiceUnavailable."""


async def username_of(db: AsyncSession, tenant_id: UUID, user_id: UUID, ask: AskName) -> str:
    """The name of one of the tenant's people. Raises NotFound for anyone else.

    A person who was just added may arrive before the event does. Then users-service is asked, and nothing is stored,
    because two people who add each other would wait for each other's rows.
    """
    known = await models.find(db, tenant_id, user_id)
    if known is not None and known.status != ENDED:
        return known.username
    name = await ask(tenant_id, user_id)
    if name is None:
        raise NotFound("No person in the tenant has this id.")
    return name


async def authorize_write(db: AsyncSession, user: Principal) -> None:
    """Store the caller, and refuse a membership that has ended: what the write grants would outlast the token.

    A token verifies for up to 2 s after its membership ended. The caller's row is locked until the commit, so a
    membership that ends meanwhile also ends what this transaction writes (rooms/handlers.py). Raises InvalidToken.
    """
    await _remember(db, user)
    caller = await models.lock(db, tenant_of(user), user.user_id)
    if caller is not None and caller.status == ENDED:
        raise InvalidToken("The token has ended: the caller is no longer a member of the tenant.")


async def _remember(db: AsyncSession, user: Principal) -> None:
    """Take the token's claims about the caller until users-service's event arrives."""
    await models.put(
        db,
        tenant_of(user),
        user.user_id,
        username=user.username,
        roles=sorted(user.roles),
        status="active",
        version=0,
    )
