"""The authorization flow as a dependency, for its endpoint and for the pages on its way."""

from typing import Annotated

from fastapi import Depends

from auth_service.authorization.flow import Authorization
from auth_service.deps import Address, Settings, UsersClient
from auth_service.sign_in.tenant_choice import TenantChoice
from shared.deps import DatabaseDep, RevocationsDep


async def authorization(
    database: DatabaseDep, revocations: RevocationsDep, users: UsersClient, settings: Settings, address: Address
) -> Authorization:
    return Authorization(database, TenantChoice(database, users, revocations, settings.public_url), settings, address)


AuthorizationDep = Annotated[Authorization, Depends(authorization)]
