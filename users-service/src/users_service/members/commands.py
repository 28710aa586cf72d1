"""What an operator does on the machine itself, where no token is needed.

`python -m users_service operators grant acme ann` gives the role `system`, which no tenant grants (auth-service's
`operators add` asks for it too, by a mailed link);
`python -m users_service tenants set acme --tier enterprise` is for a fleet that has no operator yet.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from uuid import UUID

import typer

from shared.data.database import Database
from shared.settings import load
from users_service.members import service as members
from users_service.placements.commands import move
from users_service.settings import UsersSettings
from users_service.tenants import models, service
from users_service.tenants.schemas import TenantStatus, Tier
from users_service.tenants.service import TenantErasing, TenantNotFound

operators = typer.Typer(help="Operators of the fleet: the people with the role system.", no_args_is_help=True)
tenants = typer.Typer(help="Tenants: their tier, status and home.", no_args_is_help=True)

Slug = Annotated[str, typer.Argument(help="The slug of the person's tenant.")]
Username = Annotated[str, typer.Argument(help="A member of that tenant.")]


@operators.command()
def grant(tenant: Slug, username: Username) -> None:
    """Make a member an operator; their next sign-in or refresh has every scope."""
    _run(lambda database: _operator(database, tenant, username, operator=True))


@operators.command()
def revoke(tenant: Slug, username: Username) -> None:
    """Revoke the role; the person's tokens end within 2 s."""
    _run(lambda database: _operator(database, tenant, username, operator=False))


tenants.command("move")(move)


@tenants.command("set")
def set_tenant(
    tenant: Annotated[str, typer.Argument(help="The tenant's slug.")],
    tier: Annotated[Tier | None, typer.Option()] = None,
    status: Annotated[TenantStatus | None, typer.Option()] = None,
) -> None:
    """Set a tenant's tier, or suspend and resume it; `--status active` also takes back a deleted one."""
    fields = {"tier": tier, "status": status}
    _run(lambda database: change_tenant(database, tenant, {name: value for name, value in fields.items() if value}))


async def set_operator(database: Database, slug: str, username: str, *, operator: bool) -> list[str]:
    """The person's roles after the change. Raises TenantNotFound, MemberNotFound."""
    tenant_id = await _find(database, slug)
    async with database.transaction(tenant_id) as db:
        return (await members.make_operator(db, tenant_id, username, operator=operator)).roles


async def change_tenant(database: Database, slug: str, fields: dict[str, Any]) -> str:
    """Set the tier or the status; a line that says what the tenant is now. Raises TenantNotFound."""
    tenant_id = await _find(database, slug)
    async with database.transaction(tenant_id) as db:
        tenant = await service.apply(db, tenant_id, fields, lambda _version: None)
    return f"{slug} is {tenant.state} and of the tier {tenant.tier}"


async def _operator(database: Database, slug: str, username: str, *, operator: bool) -> str:
    roles = await set_operator(database, slug, username, operator=operator)
    return f"{username} of {slug} has the roles {', '.join(roles)}"


async def _find(database: Database, slug: str) -> UUID:
    async with database.transaction(role="fleet") as fleet:
        if (tenant_id := await models.tenant_by_slug(fleet, slug)) is None:
            raise TenantNotFound
    return tenant_id


def _run(change: Callable[[Database], Coroutine[Any, Any, str]]) -> None:
    async def run() -> str:
        database = Database(load(UsersSettings))
        try:
            return await change(database)
        finally:
            await database.close()

    try:
        typer.echo(asyncio.run(run()))
    except (TenantNotFound, TenantErasing, members.MemberNotFound) as problem:
        typer.echo(problem.detail, err=True)
        raise typer.Exit(1) from None
