"""The command line of accounts: `python -m auth_service accounts deactivate | reactivate | erase | import`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, TypeVar

import typer

from auth_service.account_import.commands import commands as imports
from auth_service.account_operations.flow import AccountOperations, CannotDo
from auth_service.keyring import Keyring
from auth_service.mails.service import Mails
from auth_service.settings import AuthSettings
from shared.data.database import Database
from shared.settings import load

_T = TypeVar("_T")

commands = typer.Typer(help="Accounts.", no_args_is_help=True)
commands.add_typer(imports)

Name = Annotated[str, typer.Argument(metavar="USERNAME|EMAIL", help="The account.")]
Reason = Annotated[str, typer.Option(help="Why, for the audit trail; the person does not see it.")]
By = Annotated[str | None, typer.Option(help="Your own username, for the audit trail.")]


@commands.command()
def deactivate(name: Name, reason: Reason, by: By = None) -> None:
    """Deactivate an account: its sessions end, its API keys are revoked, and its person cannot undo it."""
    _run(by, lambda operations: operations.deactivate(name, reason))
    typer.echo(f"The account of {name} is deactivated.")


@commands.command()
def reactivate(name: Name, reason: Reason, by: By = None) -> None:
    """Reactivate an account, also one that an operator has deactivated."""
    _run(by, lambda operations: operations.reactivate(name, reason))
    typer.echo(f"The account of {name} is active.")


@commands.command()
def erase(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Erase it without asking; it cannot be undone.")] = False,
    by: By = None,
) -> None:
    """Erase an account: all that this service knows about its person, but for the account's id.

    Memberships and their data are at users-service, and are ended there.
    """
    if not yes:
        typer.confirm(f"Erase the account of {name}? This cannot be undone.", abort=True)
    account_id = _run(by, lambda operations: operations.erase(name))
    typer.echo(f"The account {account_id} is erased.")


def _run(by: str | None, work: Callable[[AccountOperations], Awaitable[_T]]) -> _T:
    """Exits with 1 and the reason where nothing could be done."""

    async def run() -> _T:
        async with _opened(by) as operations:
            return await work(operations)

    try:
        return asyncio.run(run())
    except CannotDo as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


@asynccontextmanager
async def _opened(by: str | None) -> AsyncIterator[AccountOperations]:
    settings = load(AuthSettings)
    mails = Mails(Keyring.load(settings.keys), settings.mails, "en")
    database = Database(settings)
    try:
        yield AccountOperations(database, mails, settings, by)
    finally:
        await database.close()
