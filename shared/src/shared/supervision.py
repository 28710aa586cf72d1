"""Background work of a process, supervised: what fails is logged, counted and started again; what is stopped, stops."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Final

import structlog

from shared.telemetry.metrics import TASK_RESTARTS

log = structlog.get_logger(__name__)

Work = Callable[[], Awaitable[None]]
_CANCEL_AGAIN_S: Final = 1.0
_PAUSES_S: Final = (0.1, 0.5, 1, 2, 5)


@asynccontextmanager
async def supervised(works: Mapping[str, Work]) -> AsyncIterator[None]:
    """Run each of `works` for as long as the block lasts, then cancel them and wait until they have ended."""
    running = [asyncio.create_task(_forever(name, work), name=name) for name, work in works.items()]
    try:
        yield
    finally:
        await _stopped(running)


async def _stopped(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel until all have ended. One cancellation may get lost on its way: before Python 3.12 asyncio.wait_for keeps
    one that comes as its future is done, and redis-py sends every command through that."""
    going = {task for task in tasks if not task.done()}
    while going:
        for task in going:
            task.cancel()
        _, going = await asyncio.wait(going, timeout=_CANCEL_AGAIN_S)


async def _forever(name: str, work: Work) -> None:
    failures = 0
    while True:
        began = asyncio.get_running_loop().time()
        try:
            await work()
            return
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            log.error("task_failed", task=name, exc_info=error)  # nobody asked: something that it waited for was
        except Exception:
            log.exception("task_failed", task=name)
        if asyncio.get_running_loop().time() - began > 60:
            failures = 0
        TASK_RESTARTS.labels(name).inc()
        await asyncio.sleep(_PAUSES_S[min(failures, len(_PAUSES_S) - 1)])
        failures += 1
