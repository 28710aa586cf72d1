"""The dependencies of path operations about second factors."""

from typing import Annotated

from fastapi import Depends

from auth_service.deps import Address, KeyringDep, Settings
from auth_service.mails.deps import MailsDep
from auth_service.mfa.changes import FactorChanges
from auth_service.mfa.service import Factors
from auth_service.sessions.signed_in import AccountOwner
from shared.deps import Db
from shared.problems import InsufficientUserAuthentication, raises


async def factors(db: Db, keyring: KeyringDep, settings: Settings) -> Factors:
    return Factors(db, keyring, settings)


FactorsDep = Annotated[Factors, Depends(factors)]


@raises(InsufficientUserAuthentication)
async def factor_changes(user: AccountOwner, factors: FactorsDep, mails: MailsDep, address: Address) -> FactorChanges:
    return await FactorChanges.by(user, factors, mails, address)


FactorChangesDep = Annotated[FactorChanges, Depends(factor_changes)]
