"""Keeps the background tasks of a process running, and ends them with it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Final

import structlog

from shared.background.backoff import Backoff
from shared.telemetry.metrics import TASK_RESTARTS

log = structlog.get_logger(__name__)

BackgroundTask = Callable[[], Awaitable[None]]
"""Runs until it is cancelled."""

_CANCEL_AGAIN_S: Final = 1.0
_STABLE_S: Final = 60.0  # a task that ran this long had recovered: its next failure is a first one
_BACKOFF: Final = Backoff(first_s=0.1, most_s=5.0)


@asynccontextmanager
async def supervise(tasks: Mapping[str, BackgroundTask]) -> AsyncIterator[None]:
    """Run `tasks` for as long as the block lasts; then cancel them and wait until all have ended.

    A task that fails is logged, counted, and started again after a backoff. A task that returns has ended.
    """
    running = [asyncio.create_task(_keep_running(name, task), name=name) for name, task in tasks.items()]
    try:
        yield
    finally:
        await _end(running)


def raise_if_cancelled() -> None:
    """Raise CancelledError if this task was asked to end and a library swallowed the request.

    Before Python 3.12 `asyncio.wait_for` drops a cancellation that arrives as its future completes, and redis-py sends
    every command through it.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel again until all have ended: a cancellation can be lost (see `raise_if_cancelled`)."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)


async def _keep_running(name: str, task: BackgroundTask) -> None:
    failures = 0
    while True:
        started_at = asyncio.get_running_loop().time()
        try:
            await task()
            return
        except asyncio.CancelledError as error:
            raise_if_cancelled()
            log.error("task_failed", task=name, exc_info=error)  # something that the task awaited was cancelled
        except Exception:  # one run of a supervised task ends here: recorded, and started again
            log.exception("task_failed", task=name)
        if asyncio.get_running_loop().time() - started_at > _STABLE_S:
            failures = 0
        TASK_RESTARTS.labels(name).inc()
        await asyncio.sleep(_BACKOFF.wait_s(failures))
        failures += 1
