"""auth-service reports active accounts, whose registrations can no longer be undone."""

from typing import ClassVar

from sqlalchemy.ext.asyncio import AsyncSession

from shared.events import Consumed, EventHandlers
from users_service.registration import service

handlers = EventHandlers()


class AccountRegistered(Consumed):
    """An account may sign in; `subject` is the person."""

    type: ClassVar[str] = "account.registered.v1"


@handlers.on(AccountRegistered)
async def account_registered(db: AsyncSession, event: AccountRegistered) -> None:
    await service.confirm(db, event.subject)
