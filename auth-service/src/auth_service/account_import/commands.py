"""The command line of an import: `python -m auth_service accounts import FILE`."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Protocol

import typer

from auth_service.account_import.flow import AccountImport, DryRun, Outcome
from auth_service.account_import.schemas import ImportedAccount
from auth_service.accounts.passwords import Passwords
from auth_service.forms import validated
from auth_service.keyring import Keyring
from auth_service.mails.service import Mails
from auth_service.registration.flow import Registration
from auth_service.settings import AuthSettings
from shared.clients import Clients
from shared.data.database import Database
from shared.identity.tokens import Signer
from shared.problems import Problem
from shared.resources import MissingSetting
from shared.settings import load
from shared.web.json_input import loads

_AT_ONCE: Final = 8
_LONGEST: Final = 65536  # bytes of a line

commands = typer.Typer()


@commands.command("import")
def import_accounts(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="JSON, one account a line.")],
    dry_run: Annotated[bool, typer.Option(help="Check every line, also against the accounts; store nothing.")] = False,
) -> None:
    """Import accounts with their password hashes; each is hashed by argon2id at the person's next sign-in.

    A line is {"username", "email", "email_verified", "password_hash", "tenant_id"}; "keycloak" with a credential of a
    realm export ({"secretData", "credentialData"}) replaces the hash. Hashes of bcrypt, PBKDF2, scrypt and argon2 are
    read as passlib, Django and Keycloak write them. Addresses that are not verified are mailed a link. A line that was
    imported before changes nothing, so an import that failed in part can be repeated. Exit status 1: some lines failed;
    they are listed with their numbers.
    """
    screen = _Screen()
    done = asyncio.run(imported(file, load(AuthSettings), screen, dry_run=dry_run))
    screen.clear()
    verb = "would be imported" if dry_run else "imported"
    typer.echo(f"{done.imported} {verb}, {done.there} there already, {done.failed} failed")
    if done.failed:
        raise typer.Exit(1)


class Progress(Protocol):
    """Follows an import."""

    def failed(self, failure: str) -> None:
        """A line was refused; `failure` has its number and the reason."""

    def reached(self, number: int) -> None:
        """The lines up to this one are done."""


class _Screen:
    """Failures on standard error; the number of lines too, if that is a terminal."""

    def __init__(self) -> None:
        self._counts = sys.stderr.isatty()

    def failed(self, failure: str) -> None:
        self.clear()
        typer.echo(failure, err=True)

    def reached(self, number: int) -> None:
        if self._counts:
            typer.echo(f"\r{number} lines", err=True, nl=False)

    def clear(self) -> None:
        """Take the count away, so that the cursor is at the beginning of a line."""
        if self._counts:
            typer.echo("\r\x1b[K", err=True, nl=False)


@dataclass(slots=True)
class Done:
    """What became of the lines: their numbers."""

    imported: int = 0
    there: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    read: ImportedAccount | Problem

    @property
    def names(self) -> frozenset[str]:
        """What no other line of a batch may have."""
        if isinstance(self.read, Problem):
            return frozenset()
        return frozenset({self.read.username.lower(), self.read.email.lower()})


async def imported(file: Path, settings: AuthSettings, progress: Progress, *, dry_run: bool = False) -> Done:
    """Import every line of the file, a few at once. Raises MissingSetting, KeyringInvalid, OSError."""
    done = Done()
    async with _opened(settings) as accounts:
        work = DryRun(accounts).check if dry_run else accounts.add
        for batch in _batches(file):
            for line, outcome in zip(
                batch, await asyncio.gather(*(_outcome(line, work) for line in batch)), strict=True
            ):
                if isinstance(outcome, Problem):
                    done.failed += 1
                    progress.failed(f"line {line.number}: {_said(outcome)}")
                elif outcome == "imported":
                    done.imported += 1
                else:
                    done.there += 1
            progress.reached(batch[-1].number)
    return done


async def _outcome(line: _Line, work: Callable[[ImportedAccount], Awaitable[Outcome]]) -> Outcome | Problem:
    if isinstance(line.read, Problem):
        return line.read
    try:
        return await work(line.read)
    except Problem as problem:
        return problem


def _batches(file: Path) -> Iterator[Sequence[_Line]]:
    """The lines in order, a few at once. Of lines with a name or an address in common, the first one wins."""
    batch: list[_Line] = []
    names: set[str] = set()
    for line in _lines(file):
        if len(batch) == _AT_ONCE or names & line.names:
            yield batch
            batch, names = [], set()
        batch.append(line)
        names |= line.names
    if batch:
        yield batch


def _lines(file: Path) -> Iterator[_Line]:
    with file.open("rb") as lines:
        number = 0
        while text := lines.readline(_LONGEST):
            number += 1
            end = text
            while not end.endswith(b"\n") and (end := lines.readline(_LONGEST)):
                text = b"-"  # longer than any account's; the rest is skipped, and this is not JSON
            if text.strip():
                yield _Line(number, _read(text))


def _read(text: bytes) -> ImportedAccount | Problem:
    try:
        return validated(ImportedAccount, loads(text))
    except Problem as problem:
        return problem


def _said(problem: Problem) -> str:
    errors = [f"{error.pointer}: {error.detail}" for error in problem.errors]
    return "; ".join(errors) or problem.detail


@asynccontextmanager
async def _opened(settings: AuthSettings) -> AsyncIterator[AccountImport]:
    if settings.identity.key_file is None:
        raise MissingSetting("IDENTITY__KEY_FILE")
    database, passwords = Database(settings), Passwords(settings.passwords)
    clients = Clients(settings.services, Signer.from_file(settings.service, settings.identity.key_file))
    mails = Mails(Keyring.load(settings.keys), settings.mails, "en")
    try:
        yield AccountImport(Registration(database, clients.to("users"), passwords, mails, settings, "command line"))
    finally:
        await clients.close()
        await passwords.close()
        await database.close()
