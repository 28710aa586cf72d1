"""Deactivating, reactivating and erasing the account that an operator names."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import Account, by_identifier
from auth_service.deactivation import service as deactivation
from auth_service.deactivation.service import OPERATOR, Actor
from auth_service.erasure import service as erasure
from auth_service.mails.service import Mails
from auth_service.settings import AuthSettings
from shared.data.database import Database


class CannotDo(Exception):
    """The account or the operator is unknown, or the account is in another state; the message says which."""


@dataclass(frozen=True)
class AccountOperations:
    """`operator` is the username of who does it, for the audit trail; None: not named."""

    database: Database
    mails: Mails
    settings: AuthSettings
    operator: str | None

    async def deactivate(self, name: str, reason: str) -> None:
        """Deactivate the account of that username or email. Raises CannotDo."""
        async with self._found(name) as (db, account, operator_id):
            actor = Actor(OPERATOR, operator_id, reason=reason)
            if not await deactivation.deactivate(db, account.id, actor, self.mails, self.settings):
                raise _not_in_state(account)

    async def reactivate(self, name: str, reason: str) -> None:
        """Reactivate it, whether its person or an operator has deactivated it. Raises CannotDo."""
        async with self._found(name) as (db, account, operator_id):
            actor = Actor(OPERATOR, operator_id, reason=reason)
            if not await deactivation.reactivate(db, account.id, actor, self.mails):
                raise _not_in_state(account)

    async def erase(self, name: str) -> UUID:
        """Erase it; returns its id, the only thing that is left. Raises CannotDo."""
        async with self._found(name) as (db, account, operator_id):
            if not await erasure.erase(db, account.id, operator_id):
                raise _not_in_state(account)
            return account.id

    @asynccontextmanager
    async def _found(self, name: str) -> AsyncIterator[tuple[AsyncSession, Account, UUID | None]]:
        """A transaction, the named account, and the operator's own."""
        async with self.database.transaction() as db:
            operator = await _by_name(db, self.operator) if self.operator is not None else None
            yield db, await _by_name(db, name), operator.id if operator else None


async def _by_name(db: AsyncSession, name: str) -> Account:
    account = await by_identifier(db, name)
    if account is None:
        raise CannotDo(f"no account has the username or verified email {name!r}")
    return account


def _not_in_state(account: Account) -> CannotDo:
    by = f" by its {account.deactivated_by}" if account.deactivated_by else ""
    return CannotDo(f"nothing was done: the account of {account.username} is {account.status}{by}")
