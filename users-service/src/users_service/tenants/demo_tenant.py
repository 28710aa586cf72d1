"""The demo tenant that `make up` seeds, recognized by its slug, which is reserved outside of development."""

import re
from typing import Final

from sqlalchemy import select

from shared.data.database import Database
from shared.data.production_checks import Unfit
from users_service.tenants.models import Tenant

_SLUG: Final = "^demo(-[0-9a-f]{4})?$"


class DemoTenant(Unfit):
    """The demo tenant's passwords were printed on a screen, and it has the highest tier."""


def is_demo(slug: str) -> bool:
    return re.fullmatch(_SLUG, slug) is not None


async def refuse_demo_tenant(database: Database) -> None:
    async with database.transaction(role="fleet") as fleet:
        slug = await fleet.scalar(select(Tenant.slug).where(Tenant.slug.regexp_match(_SLUG)).limit(1))
    if slug is not None:
        raise DemoTenant(
            f"The demo tenant {slug} is in the database, which was made for development: "
            "give each service a new one, by `db create` and `migrate`"
        )
