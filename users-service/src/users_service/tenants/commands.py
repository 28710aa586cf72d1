"""`python -m users_service operators grant acme ann`: the one way to the role `system`, which no tenant grants."""

import asyncio
from typing import Annotated

import typer

from shared.data.database import Database
from shared.settings import load
from users_service.settings import UsersSettings
from users_service.tenants import members, models
from users_service.tenants.service import TenantNotFound

operators = typer.Typer(help="Operators of the fleet: who has the role system.", no_args_is_help=True)

Slug = Annotated[str, typer.Argument(help="The slug of the person's tenant.")]
Username = Annotated[str, typer.Argument(help="A member of that tenant.")]


@operators.command()
def grant(tenant: Slug, username: Username) -> None:
    """Make a member an operator; their next sign-in or refresh has every scope."""
    _run(tenant, username, operator=True)


@operators.command()
def revoke(tenant: Slug, username: Username) -> None:
    """Take the role away; the person's tokens end within 2 s."""
    _run(tenant, username, operator=False)


async def set_operator(database: Database, slug: str, username: str, *, operator: bool) -> list[str]:
    """The person's roles after the change. Raises TenantNotFound, MemberNotFound."""
    async with database.transaction(role="fleet") as fleet:
        if (tenant_id := await models.tenant_by_slug(fleet, slug)) is None:
            raise TenantNotFound
    async with database.transaction(tenant_id) as db:
        return (await members.make_operator(db, tenant_id, username, operator=operator)).roles


def _run(slug: str, username: str, *, operator: bool) -> None:
    async def change() -> list[str]:
        database = Database(load(UsersSettings))
        try:
            return await set_operator(database, slug, username, operator=operator)
        finally:
            await database.close()

    try:
        roles = asyncio.run(change())
    except (TenantNotFound, members.MemberNotFound) as problem:
        typer.echo(problem.detail, err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{username} of {slug} has the roles {', '.join(roles)}")
