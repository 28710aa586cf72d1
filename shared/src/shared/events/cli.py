"""`python -m <service> events …`: declare the queue, inspect inbox and outbox, replay and republish."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from shared.data.database import Database
from shared.events import replay
from shared.events.handlers import EventHandlers
from shared.events.models import InboxRow, OutboxRow
from shared.events.replay import Box
from shared.events.transports import open_bus
from shared.settings import ServiceSettings

T = TypeVar("T")


def events_commands(name: str, handlers: EventHandlers, load_settings: Callable[[], ServiceSettings]) -> typer.Typer:
    """The commands for the service `name`."""
    line = typer.Typer(help="The events that the service publishes and consumes.", no_args_is_help=True)

    def with_database(work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        return asyncio.run(_in_transaction(load_settings(), work))

    @line.command()
    def declare() -> None:
        """Create the service's queue and bindings on the bus; run this before any service starts."""
        asyncio.run(_declare(load_settings(), name, handlers))
        typer.echo(f"{name} consumes {', '.join(handlers.types) or 'nothing'}")

    @line.command("list")
    def list_rows(
        box: Annotated[Box, typer.Option(help="inbox: received events; outbox: published events.")] = "inbox",
        parked: Annotated[bool, typer.Option(help="Only parked events.")] = False,
        limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    ) -> None:
        """List events, newest first, with their state and last error."""
        for row in with_database(lambda db: replay.listed(db, box, parked_only=parked, limit=limit)):
            typer.echo(f"{row.id}  {row.since:%F %T}  {row.state:8} {row.attempts:3}  {row.type}  {row.fault or ''}")

    @line.command()
    def show(event_id: UUID) -> None:
        """Show one event of the inbox or the outbox."""
        typer.echo(with_database(lambda db: _shown(db, event_id)))

    @line.command("replay")
    def replay_parked(
        event_id: Annotated[UUID | None, typer.Argument(help="The id, as shown by `events list --parked`.")] = None,
        every: Annotated[bool, typer.Option("--all", help="Every parked event.")] = False,
    ) -> None:
        """Retry parked events."""
        if (event_id is None) is not every:
            raise typer.BadParameter("pass either an event id or --all")
        count = with_database(lambda db: replay.replay(db, event_id))
        typer.echo(f"{count} events will be retried")
        if not count:
            raise typer.Exit(1)

    @line.command()
    def republish(
        since: Annotated[datetime, typer.Option(help="In UTC, such as 2026-01-31T12:00:00.")],
        event_type: Annotated[str | None, typer.Option("--type")] = None,
    ) -> None:
        """Publish the events since a given time again (kept for a week); consumers ignore events they have handled."""
        count = with_database(lambda db: replay.republish(db, since.replace(tzinfo=UTC), event_type))
        typer.echo(f"{count} events will be published again")

    return line


async def _in_transaction(settings: ServiceSettings, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    database = Database(settings)
    try:
        async with database.transaction() as db:
            return await work(db)
    finally:
        await database.close()


async def _declare(settings: ServiceSettings, name: str, handlers: EventHandlers) -> None:
    if settings.bus_url is None:
        raise typer.BadParameter("BUS_URL is not set")
    bus = open_bus(settings.bus_url.get_secret_value())
    try:
        await bus.declare(name, handlers.types)
    finally:
        await bus.close()


async def _shown(db: AsyncSession, event_id: UUID) -> str:
    if (arrived := await db.get(InboxRow, event_id)) is not None:
        return f"{arrived.message.decode(errors='replace')}\n{arrived.fault or ''}"
    if (sent := await db.get(OutboxRow, event_id)) is not None:
        return f"{sent.type} {sent.subject} {sent.data}\n{sent.fault or ''}"
    raise typer.BadParameter("no event has this id")
