"""The second factors of the person who uses the account's pages."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from auth_service.account_page.deps import ConfirmedOwner, Owner
from auth_service.deps import Address, KeyringDep, Settings
from auth_service.keyring import Keyring
from auth_service.mails.deps import MailsDep
from auth_service.mails.service import Mails
from auth_service.mfa import passkeys
from auth_service.mfa.changes import FactorChanges
from auth_service.mfa.service import FactorNotFound, Factors
from auth_service.settings import AuthSettings
from shared.data.database import Database
from shared.deps import DatabaseDep


@dataclass(frozen=True)
class OwnFactors:
    """Changes the factors of a person who has confirmed recently, each time in a transaction of its own."""

    owner: Owner
    database: Database
    keyring: Keyring
    mails: Mails
    settings: AuthSettings
    address: str

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[FactorChanges]:
        async with self.database.transaction() as db:
            factors = Factors(db, self.keyring, self.settings)
            yield await FactorChanges.by(self.owner.user, factors, self.mails, self.address)

    async def name_of(self, factor_id: UUID) -> str:
        """The factor's name. Raises FactorNotFound."""
        async with self.database.transaction() as db:
            apps, keys = await Factors(db, self.keyring, self.settings).list(self.owner.account.id)
        names = {app.id: app.name for app in apps} | {key.id: key.name for key in keys}
        if factor_id not in names:
            raise FactorNotFound
        return names[factor_id]

    async def passkey_options(self) -> dict[str, Any]:
        """What the page gives to `navigator.credentials.create`."""
        async with self.changing() as changes:
            factors = changes.factors
            return await passkeys.registration_options(factors.db, factors.relying_party, changes.account)


async def own_factors(
    owner: ConfirmedOwner,
    database: DatabaseDep,
    keyring: KeyringDep,
    mails: MailsDep,
    settings: Settings,
    address: Address,
) -> OwnFactors:
    return OwnFactors(owner, database, keyring, mails, settings, address)


OwnFactorsDep = Annotated[OwnFactors, Depends(own_factors)]
