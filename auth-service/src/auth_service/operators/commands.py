"""The command line of operators: `python -m auth_service operators add | list | remove`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Annotated, Final, TypeVar

import typer

from auth_service.keyring import Keyring
from auth_service.languages import LANGUAGES, preferred
from auth_service.mails.service import Mails
from auth_service.operators.flow import Operators
from auth_service.settings import AuthSettings
from shared.clients import Clients
from shared.data.database import Database
from shared.identity.tokens import Signer
from shared.problems import Problem
from shared.resources import MissingSetting
from shared.settings import load

R = TypeVar("R")

commands = typer.Typer(help="Operators of the fleet: the people with the role system.", no_args_is_help=True)

ADDRESS: Final = "command line"

Email = Annotated[str, typer.Argument(help="The person's email address.")]


@commands.command()
def add(
    email: Email,
    language: Annotated[str, typer.Option(help=f"Of the mail: {', '.join(LANGUAGES)}.")] = LANGUAGES[0],
) -> None:
    """Mail a link by which the person becomes an operator.

    It works once, for the account that has verified the address, also for one that registers later.
    """
    _run(lambda settings: invite(settings, email, language))
    typer.echo(f"a link is on its way to {email}")


@commands.command("list")
def list_operators() -> None:
    """Show every operator and the tenant in which they act as one. users-service must be running."""
    for line in _run(listed):
        typer.echo(line)


@commands.command()
def remove(email: Annotated[str, typer.Argument(help="The person's email address or username.")]) -> None:
    """Revoke the role in all tenants and the person's unused links; their tokens end within 2 s.

    users-service must be running.
    """
    removed = _run(lambda settings: revoke(settings, email))
    typer.echo(f"{email} is not an operator" if removed else f"{email} has no account; unused links are revoked")


async def invite(settings: AuthSettings, email: str, language: str) -> None:
    """Raises MailLimitReached, AddressUnmailable."""
    async with _opened(settings) as operators:
        await operators.invite(email, Mails(Keyring.load(settings.keys), settings.mails, preferred(language)))


async def revoke(settings: AuthSettings, email: str) -> bool:
    """Whether there is such an account. Raises ServiceUnavailable."""
    async with _opened(settings) as operators:
        return await operators.remove(email)


async def listed(settings: AuthSettings) -> list[str]:
    """A line for each operator: username, email and tenant. Raises ServiceUnavailable."""
    async with _opened(settings) as operators:
        return [
            f"{one.account.username if one.account else str(one.membership.user_id):<36} "
            f"{(one.account.email if one.account else None) or '-':<40} {one.membership.tenant.slug}"
            for one in await operators.listed()
        ]


def _run(work: Callable[[AuthSettings], Coroutine[object, object, R]]) -> R:
    try:
        return asyncio.run(work(load(AuthSettings)))
    except Problem as problem:
        typer.echo(f"{problem.detail} {problem.remedy or ''}".strip(), err=True)
        raise typer.Exit(1) from None


@asynccontextmanager
async def _opened(settings: AuthSettings) -> AsyncIterator[Operators]:
    if settings.identity.key_file is None:
        raise MissingSetting("IDENTITY__KEY_FILE")
    database = Database(settings)
    clients = Clients(settings.services, Signer.from_file(settings.service, settings.identity.key_file))
    try:
        yield Operators(database, clients.to("users"), settings, ADDRESS)
    finally:
        await clients.close()
        await database.close()
