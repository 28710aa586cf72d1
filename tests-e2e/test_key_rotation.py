"""Signing keys are rotated while people work: no request is refused, also with keys that no gateway knew before."""

import asyncio
import base64
import json
from collections import Counter
from itertools import count
from typing import Any

from people import Person, Town

from shared.testing import eventually

EVERY_S = 0.02  # 50 requests a second
REQUESTS = 200
"""So many more after the last rotation."""


def kid_of(tokens: dict[str, Any]) -> str:
    head = str(tokens["access_token"]).partition(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"])


async def test_rotations_under_load_refuse_nothing(town: Town) -> None:
    people = [await town.founder() for _ in range(4)]
    statuses: Counter[int] = Counter()
    kids: set[str] = set()
    stopping = asyncio.Event()

    async def request(person: Person, number: int) -> None:
        if number % 10 == 0:
            reply = await town.refresh(person.tokens["refresh_token"], gateway=number % 2)
            if reply.status_code == 200:
                person.tokens = reply.json()
        else:
            reply = await person.at(number % 2).call("GET", "/api/v1/profile")
        kids.add(kid_of(person.tokens))
        statuses[reply.status_code] += 1

    async def load() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in count():
                if stopping.is_set():
                    break
                group.create_task(request(people[number // 10 % len(people)], number))
                await asyncio.sleep(began + number * EVERY_S - loop.time())

    async with asyncio.TaskGroup() as group:
        group.create_task(load())
        await eventually(lambda: kids, within_s=20)
        for keys in (2, 3):  # the last one signs with a key that was published a moment ago
            await town.fleet.command("auth", "keys rotate --force")
            await eventually(lambda keys=keys: len(kids) >= keys, within_s=30, saying=f"{keys} keys have signed")
        used = statuses.total()
        await eventually(lambda: statuses.total() > used + REQUESTS, within_s=60, saying="the load has gone on")
        stopping.set()
    assert set(statuses) == {200}
