"""auth-service tells of accounts that are active: from then on nobody takes their registration back."""

from typing import ClassVar

from sqlalchemy.ext.asyncio import AsyncSession

from shared.events import Consumed, EventHandlers
from users_service.tenants import registration

handlers = EventHandlers()


class AccountRegistered(Consumed):
    """An account may sign in; `subject` is the person."""

    type: ClassVar[str] = "account.registered.v1"


@handlers.on(AccountRegistered)
async def account_registered(db: AsyncSession, event: AccountRegistered) -> None:
    await registration.confirm(db, event.subject)
