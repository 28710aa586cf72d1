"""A replica that is stopped but not dead (SIGSTOP) keeps its port open and answers nothing: the other one serves."""

import asyncio
from collections import Counter

import harm
import httpx2
from people import Person, Town

from shared.dev.launcher.child_process import Child
from shared.dev.launcher.running_fleet import Fleet
from shared.testing import eventually

QUICK_S = 2.0
TAKEN_OUT_S = 12  # a probe starts after 2 s of silence and waits for 2 s


async def test_a_frozen_chat_replica_delays_only_the_first_requests(fleet: Fleet, town: Town) -> None:
    ann = await town.founder()
    room = await ann.room()
    other, frozen = fleet.children["chat"], fleet.children["chat-2"]
    before = harm.lives(fleet)
    assert await answers(ann, room) == {200: 16}

    with harm.paused(frozen):
        assert await answers(ann, room) == {200: 8, None: 8}
        await eventually(lambda: all_are_quick(ann, room), within_s=TAKEN_OUT_S, saying="one replica serves everything")
        for _ in range(50):
            assert await is_quick(ann, room)
        async with asyncio.timeout(QUICK_S), ann.socket() as socket:
            await socket.subscribe(room)

    await eventually(lambda: serves_alone(ann, room, without=other), within_s=60, saying="the replica serves again")
    assert harm.lives(fleet) == before


async def answers(person: Person, room: str) -> Counter[int | None]:
    """The statuses of sixteen requests that the gateway spreads over the replicas; None for one that is late."""
    return Counter(await asyncio.gather(*(status(person, room) for _ in range(16))))


async def status(person: Person, room: str) -> int | None:
    try:
        reply = await person.get(f"/api/v1/rooms/{room}/messages", None, timeout=QUICK_S)
    except httpx2.TimeoutException:
        return None
    return reply.status_code


async def is_quick(person: Person, room: str) -> bool:
    return await status(person, room) == 200


async def all_are_quick(person: Person, room: str) -> bool:
    return await answers(person, room) == {200: 16}


async def serves_alone(person: Person, room: str, without: Child) -> bool:
    """Whether requests are answered while `without` is frozen: by the other replica then."""
    with harm.paused(without):
        return await is_quick(person, room) or await is_quick(person, room)
