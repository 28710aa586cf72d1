"""The command line of the audit trail: `python -m auth_service audit verify | export | erase`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

import orjson
import typer

from auth_service.audit import service, verification
from auth_service.audit.chain import shown
from auth_service.audit.models import SecurityEvent
from auth_service.audit.verification import Head, Verification
from auth_service.settings import AuthSettings
from shared.data.database import Database
from shared.settings import load

commands = typer.Typer(help="The audit trail of security events.", no_args_is_help=True)


def _head(text: str) -> Head:
    seq, _, digest = text.partition(":")
    try:
        return Head(int(seq), bytes.fromhex(digest))
    except ValueError:
        raise typer.BadParameter("must be SEQ:HASH, as `seq` and `hash` of an `audit_head` log line") from None


@commands.command()
def verify(
    head: Annotated[
        Head | None,
        typer.Option(parser=_head, metavar="SEQ:HASH", help="An exported head that the trail must still contain."),
    ] = None,
) -> None:
    """Verify that every event is there, unchanged and in its place; exit with 1 and print what breaks where if not."""
    found = asyncio.run(_verified(head))
    for broken in found.breaks:
        event = f" (event {broken.event_id})" if broken.event_id else ""
        typer.echo(f"{broken.seq}{event}: {broken.reason}", err=True)
    if found.breaks:
        typer.echo(f"The audit trail is broken in {len(found.breaks)} places.", err=True)
        raise typer.Exit(1)
    typer.echo(_summary(found))
    if head is not None and head.seq <= found.checkpoint.seq:
        typer.echo(f"The head {head.seq} was not compared: its event has been deleted by retention.")


@commands.command()
def export(
    after: Annotated[int, typer.Option(min=0, help="The sequence number of the last event that is left out.")] = 0,
) -> None:
    """Print the chained events in order, one JSON object a line, with all that their hashes cover."""
    asyncio.run(_export(after))


@commands.command()
def erase(account_id: Annotated[UUID, typer.Argument(help="The person's account.")]) -> None:
    """Wipe addresses and details of all events about a person or by them. The trail stays verifiable."""
    typer.echo(f"{asyncio.run(_erased(account_id))} events erased")


def _summary(found: Verification) -> str:
    first = found.checkpoint.seq + 1
    span = f"{first} to {found.head.seq}, " if found.verified else ""
    return (
        f"{found.verified} events verified: {span}{found.erased} of them erased, {found.waiting} not chained yet."
        f" Head {found.head}"
    )


async def _verified(head: Head | None) -> Verification:
    async with _opened() as database:
        return await verification.verify(database, head)


async def _erased(account_id: UUID) -> int:
    async with _opened() as database, database.transaction() as db:
        return await service.erase(db, account_id)


async def _export(after: int) -> None:
    async with _opened() as database:
        while True:
            async with database.transaction() as db:  # none is open while a slow reader takes the lines
                events = await verification.batch(db, after)
            for event in events:
                typer.echo(orjson.dumps(_line(event), default=str).decode())
            if not events:
                return
            after = events[-1].seq or 0


def _line(event: SecurityEvent) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "id": event.id,
        "kind": event.kind,
        "created_at": shown(event.created_at),
        "account_id": event.account_id,
        "actor_id": event.actor_id,
        "session_id": event.session_id,
        "tenant_id": event.tenant_id,
        "address": event.address,
        "details": event.details,
        "salt": _hex(event.salt),
        "content_hash": _hex(event.content_hash),
        "chain_hash": _hex(event.chain_hash),
    }


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


@asynccontextmanager
async def _opened() -> AsyncIterator[Database]:
    database = Database(load(AuthSettings))
    try:
        yield database
    finally:
        await database.close()
