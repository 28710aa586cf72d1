"""Background work of a process: what fails begins again, what is stopped ends."""

import asyncio

from shared.background import supervise
from shared.testing import eventually


async def test_work_that_fails_begins_again() -> None:
    begun = 0

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise RuntimeError("it fails")
        if begun == 2:
            forgotten = asyncio.get_running_loop().create_future()
            forgotten.cancel()
            await forgotten  # cancelled by what it waits for, and by nobody who wants it to end
        await asyncio.Event().wait()

    async with supervise({"work": work}):
        await eventually(lambda: begun == 3, within_s=20)


async def test_the_block_ends_when_its_work_has_ended() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.set()

    async with supervise({"work": work}):
        await asyncio.sleep(0)
    assert ended.is_set()


async def test_work_that_loses_a_cancellation_is_stopped_all_the_same() -> None:
    lost = 0

    async def work() -> None:
        nonlocal lost
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:  # what asyncio.wait_for does with one that comes too late
            lost += 1
        await asyncio.Event().wait()

    async with asyncio.timeout(20):
        async with supervise({"work": work}):
            await asyncio.sleep(0)
    assert lost == 1
