"""`tenants move acme --to schema` gives a tenant's content a home of its own; `--to row` takes it back."""

import asyncio
import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final, Literal
from uuid import UUID

import typer

from shared.data.database import Database
from shared.data.placement import move as placement
from shared.data.placement.move import MoveFailed, Owner
from shared.data.roles import database_name
from shared.settings import OwnerSettings, load
from users_service.settings import UsersSettings
from users_service.tenants import models
from users_service.tenants import service as tenants
from users_service.tenants.service import TenantNotFound

Home = Literal["row", "schema"]

_MARGIN_S: Final = 2.0


def move(
    tenant: Annotated[str, typer.Argument(help="The tenant's slug.")],
    to: Annotated[Home, typer.Option(help="row: the tables that tenants share; schema: a schema of its own.")],
    pause_s: Annotated[float, typer.Option(min=0.1, help="For how long writes may be blocked at the end.")] = 3.0,
) -> None:
    """Move a tenant's content while it is used. A move that was broken off goes on when it is started again.

    Needs DATABASE_OWNER_URL. Reads go on; writes wait for a moment at the end, and a few are answered 503 and are to be
    sent again. All processes must run this release before the first move.
    """
    try:
        typer.echo(asyncio.run(_moved(tenant, to, pause_s)))
    except TenantNotFound:
        typer.echo("There is no tenant with this slug.", err=True)
        raise typer.Exit(1) from None
    except MoveFailed as error:
        _clear()
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


async def _moved(slug: str, to: Home, pause_s: float) -> str:
    settings = load(UsersSettings)
    tenant_id = await _find(settings, slug)
    name = settings.database.name or database_name(settings.service)
    moved = await placement.move(
        Owner(OwnerSettings().url, name, settings.service, Path(str(files("users_service") / "migrations"))),
        tenant_id,
        own_schema=to == "schema",
        grace_s=settings.database.statement_timeout_s + _MARGIN_S,
        pause_s=pause_s,
        progress=_show,
    )
    _clear()
    return f"{slug} is in the schema {moved.home}: {moved.rows} rows; writes were blocked for {moved.paused_s:.1f} s"


async def _find(settings: UsersSettings, slug: str) -> UUID:
    """Raises TenantNotFound, and MoveFailed for a tenant that is being deleted."""
    database = Database(settings)
    try:
        async with database.transaction(role="fleet") as fleet:
            if (tenant_id := await models.tenant_by_slug(fleet, slug)) is None:
                raise TenantNotFound
        async with database.transaction(tenant_id) as db:
            if (await tenants.read(db, tenant_id)).erase_at is not None:
                raise MoveFailed("The tenant is being deleted. Take it back first: tenants set SLUG --status active.")
        return tenant_id
    finally:
        await database.close()


def _show(table: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\r\x1b[K{table}: {done} of {total} rows", err=True, nl=False)


def _clear() -> None:
    if sys.stderr.isatty():
        typer.echo("\r\x1b[K", err=True, nl=False)
