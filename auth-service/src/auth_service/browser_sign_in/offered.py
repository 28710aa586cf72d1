"""The identity providers that the sign-in page offers: the fleet's, and those of the tenant that the sign-in is for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Depends

from auth_service.deps import NamedTenant
from auth_service.identity_providers import service as providers
from auth_service.identity_providers.models import IdentityProvider
from auth_service.memberships.models import Tenant
from shared.data.database import Database
from shared.deps import DatabaseDep


@dataclass(frozen=True)
class Offered:
    database: Database
    named_tenant: str | None

    async def of(self, tenant: Tenant | None) -> Sequence[IdentityProvider]:
        """The fleet's providers, and those of the tenant that the sign-in is for."""
        async with self.database.transaction() as db:
            return await providers.offered(db, tenant.id if tenant else None)


def start_url(provider_id: UUID, continued: str) -> str:
    """Where a sign-in through the provider begins."""
    query = urlencode({"continue": continued}) if continued else ""
    return f"/auth/upstream/{provider_id}/start{'?' if query else ''}{query}"


async def offered_providers(database: DatabaseDep, named_tenant: NamedTenant) -> Offered:
    return Offered(database, named_tenant)


OfferedProviders = Annotated[Offered, Depends(offered_providers)]
