"""What a publisher promises as files, and the command line over both boxes."""

import asyncio
import json
from pathlib import Path
from typing import Any, ClassVar

from typer.testing import CliRunner, Result

from shared.background import supervise
from shared.data.database import Database
from shared.events import Bus, Consumed, Event, EventHandlers, contracts, outbox
from shared.events.cli import events_commands
from shared.events.event import Envelope
from shared.events.receiver import Receiver
from shared.events.relay import Relay
from shared.ids import new_id

from .conftest import EventsSettings


class Painted(Event):
    """A thing got a colour."""

    type: ClassVar[str] = "thing.painted.v1"
    example: ClassVar[dict[str, object]] = {"colour": "red"}
    colour: str


class SeenPainted(Consumed):
    type: ClassVar[str] = "thing.painted.v1"
    colour: str


handlers = EventHandlers()


def test_a_consumer_parses_the_publishers_example(tmp_path: Path) -> None:
    contracts.write(tmp_path, "paint", [Painted], handlers)
    example = (tmp_path / "events" / "thing.painted.v1.json").read_bytes()
    assert SeenPainted.of(Envelope.decode(example)).colour == "red"
    document = json.loads((tmp_path / "asyncapi.json").read_text())
    assert document["asyncapi"] == "3.0.0"
    assert list(document["channels"]) == ["thing.painted.v1"]


def test_contracts_are_the_same_each_time(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        contracts.write(tmp_path / folder, "paint", [Painted], handlers)
    for file in ("asyncapi.json", "events/thing.painted.v1.json"):
        assert (tmp_path / "one" / file).read_text() == (tmp_path / "two" / file).read_text()


async def test_the_command_line_shows_and_sends_again(
    database: Database, make_settings: Any, bus: Bus, broker: Any
) -> None:
    settings: EventsSettings = make_settings(str(database.url.database), bus_url=broker.server.url)
    line = events_commands("events", handlers, lambda: settings)

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, line, arguments)

    event = Painted(subject=new_id(), colour="red")
    async with database.transaction() as db:
        outbox.add(db, event)
    assert (await run("declare")).exit_code == 0
    assert "waiting" in (await run("list", "--box", "outbox")).output
    await Relay(database, bus, "paint").publish_batch()
    assert "done" in (await run("list", "--box", "outbox")).output
    assert "1 event" in (await run("republish", "--since", "2026-01-01T00:00:00")).output
    assert "waiting" in (await run("list", "--box", "outbox")).output
    assert (await run("list", "--box", "mailbox")).exit_code == 2
    assert "red" in (await run("show", str(event.id))).output
    assert (await run("show", str(new_id()))).exit_code == 2

    receiver = Receiver(database, bus, "events", handlers)
    async with supervise({"writing": receiver.writing.run}):
        await receiver.store(b"no event")
    listed = (await run("list", "--parked")).output
    assert "malformed" in listed
    parked_id = listed.split()[0]
    assert "no event" in (await run("show", parked_id)).output
    assert (await run("replay", parked_id)).exit_code == 0
    assert (await run("replay", parked_id)).exit_code == 1
    assert (await run("replay")).exit_code == 2
