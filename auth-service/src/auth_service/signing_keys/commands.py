"""The command line of the keys: `python -m auth_service keys list | rotate | generate`."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.keyring import Keyring, generate_root
from auth_service.settings import AuthSettings
from auth_service.signing_keys import service
from auth_service.signing_keys.models import StoredKey
from shared.data.database import Database
from shared.identity.keys import Algorithm
from shared.problems import Problem
from shared.settings import load

commands = typer.Typer(help="The keys that access tokens and ID tokens are signed with.", no_args_is_help=True)


@commands.command("list")
def list_keys() -> None:
    """Show every key and what it is used for."""
    typer.echo(_line("kid", "alg", "status", "created", "active since", "retired"))
    for key in asyncio.run(_listed()):
        times = (key.created_at, key.activated_at, key.retired_at)
        typer.echo(
            _line(key.kid, key.algorithm, key.status, *(f"{time:%Y-%m-%d %H:%M}" if time else "" for time in times))
        )


@commands.command()
def rotate(
    algorithm: Annotated[
        Algorithm | None, typer.Option(help="Only the key of access tokens (ES256) or of ID tokens (RS256).")
    ] = None,
    force: Annotated[bool, typer.Option(help="Even when the next key is younger than two minutes.")] = False,
) -> None:
    """Sign with the next keys from now on; tokens of the old ones stay valid until they expire."""
    try:
        kids = asyncio.run(_rotated([algorithm] if algorithm else service.ALGORITHMS, force))
    except Problem as problem:
        typer.echo(f"{problem.detail} {problem.remedy}", err=True)
        raise typer.Exit(1) from None
    for kid in kids:
        typer.echo(f"{kid} signs now; every replica follows within seconds")


@commands.command()
def generate() -> None:
    """Print a new encryption key for KEYS__ENCRYPTION_KEY or KEYS__ENCRYPTION_KEY_FILE."""
    typer.echo(generate_root())


def _line(kid: str, algorithm: str, status: str, *times: str) -> str:
    return f"{kid:<44} {algorithm:<6} {status:<8}" + "".join(f" {time:<17}" for time in times)


async def _listed() -> list[StoredKey]:
    async with _database(load(AuthSettings)) as db:
        return await service.listed(db)


async def _rotated(algorithms: Iterable[Algorithm], force: bool) -> list[str]:
    settings = load(AuthSettings)
    keyring = Keyring.load(settings.keys)
    async with _database(settings) as db:
        return [await service.rotate(db, keyring, algorithm, force=force) for algorithm in algorithms]


@asynccontextmanager
async def _database(settings: AuthSettings) -> AsyncIterator[AsyncSession]:
    database = Database(settings)
    try:
        async with database.transaction() as db:
            yield db
    finally:
        await database.close()
