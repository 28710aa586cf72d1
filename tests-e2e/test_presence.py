"""A client that has stopped is absent within the heartbeat and ten seconds, through two gateways and two replicas."""

import asyncio
import signal
import sys
from typing import Final
from urllib.parse import urlsplit

from conftest import HEARTBEAT_S
from people import Person, Socket, Town

from shared.testing import eventually
from shared.testing.processes import ended, output, started

ANSWER_S: Final = 10
NOTICED_S: Final = 1.5  # the way to the other member, on a busy machine

STOPPING: Final = """
import asyncio, json, sys
from websockets.asyncio.client import connect

async def main():
    url, token, room = sys.argv[1:]
    headers = {"Authorization": token}
    async with connect(url, subprotocols=["flotilla.v1"], additional_headers=headers) as socket:
        await socket.send(json.dumps({"type": "subscribe", "room_id": room}))
        async for frame in socket:
            if json.loads(frame)["type"] == "subscribed":
                print("subscribed", flush=True)

asyncio.run(main())
"""


async def becomes_absent(person: Person, watcher: Person, room: str, watching: Socket) -> None:
    """From now on within the heartbeat and ten seconds; who watches the room hears of it."""

    async def absent() -> bool:
        users = (await watcher.get(f"/api/v1/presence?room_id={room}")).json()["users"]
        return person.username not in [user["username"] for user in users]

    await eventually(absent, within_s=HEARTBEAT_S + ANSWER_S + NOTICED_S, every_s=0.2, saying="the person is absent")
    left = await watching.next("user_left", within_s=5)
    assert left["user"]["id"] == person.id


async def test_a_client_that_reads_nothing_becomes_absent(town: Town) -> None:
    ann = await town.founder()
    bob = await town.member(ann)
    room = await ann.room()
    async with ann.at(1).socket() as watching, bob.socket() as frozen:
        await watching.subscribe(room)
        await frozen.subscribe(room)
        await watching.next("user_joined")
        frozen.wire.transport.pause_reading()
        await becomes_absent(bob, ann, room, watching)
        frozen.wire.transport.abort()


async def test_a_stopped_process_becomes_absent(town: Town) -> None:
    ann = await town.founder()
    bob = await town.member(ann)
    room = await ann.room()
    url = urlsplit(town.urls[0])._replace(scheme="ws", path="/ws").geturl()
    async with ann.at(1).socket() as watching:
        await watching.subscribe(room)
        process = started(sys.executable, "-c", STOPPING, url, bob.headers["Authorization"], room)
        try:
            assert await asyncio.to_thread(output(process).readline) == b"subscribed\n"
            await watching.next("user_joined")
            process.send_signal(signal.SIGSTOP)
            await becomes_absent(bob, ann, room, watching)
        finally:
            ended(process)
