"""The worker's child processes: a bounded number, started ahead, each replaced when it dies or has to be killed.

No pool of the standard library does this: theirs break as a whole when one process dies, and cannot stop a task.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import structlog

from shared.problems import every_problem
from tasks_service.kinds.problems import ChildDied
from tasks_service.kinds.values import Report
from tasks_service.worker.pool import pipe

log = structlog.get_logger(__name__)


class ChildFailed(Exception):
    """The function raised something unforeseen; the traceback is in the log."""


class ChildPool:
    def __init__(self, size: int) -> None:
        self._free = asyncio.Semaphore(size)
        self._size = size
        self._idle: deque[Process] = deque()
        self._all: set[Process] = set()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["ChildPool"]:
        """Start the processes now, end them with the block."""
        for _ in range(self._size):
            self._idle.append(await self._start())
        try:
            yield self
        finally:
            await asyncio.gather(*(self._end(process) for process in tuple(self._all)))

    async def run(
        self,
        function: Callable[..., bytes],
        arguments: dict[str, Any],
        report: Report,
        begins: Callable[[], None] = lambda: None,
    ) -> bytes:
        """What `function` returns, run in a child. Waits for a free one and calls `begins`; cancelling kills the child.

        Raises the Problem that the function raised, ChildDied, or ChildFailed.
        """
        asked = {"function": f"{function.__module__}:{function.__qualname__}", "arguments": arguments}
        async with self._free:
            process = self._idle.popleft() if self._idle else await self._start()
            if process.returncode is not None:  # it died while it was idle: not this work's fault
                await self._end(process)
                process = await self._start()
            begins()
            try:
                kind, payload = await _exchange(process, orjson.dumps(asked), report)
            except (asyncio.IncompleteReadError, ConnectionError, BrokenPipeError):
                await self._end(process)
                log.warning("child_died", pid=process.pid, returncode=process.returncode)
                raise ChildDied from None
            except BaseException:
                await self._end(process)
                raise
            self._idle.append(process)
        return _outcome(kind, payload)

    async def _start(self) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tasks_service.worker.pool.child", stdin=PIPE, stdout=PIPE
        )
        self._all.add(process)
        return process

    async def _end(self, process: Process) -> None:
        self._all.discard(process)
        if process.returncode is None:
            process.kill()
        await asyncio.shield(process.wait())


async def _exchange(process: Process, task: bytes, report: Report) -> tuple[bytes, bytes]:
    """Hand the task over and pass progress on until the answer comes."""
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101 - as above
    process.stdin.write(pipe.encoded(pipe.TASK, task))
    await process.stdin.drain()
    while True:
        kind, length = pipe.HEAD.unpack(await process.stdout.readexactly(pipe.HEAD.size))
        payload = await process.stdout.readexactly(length)
        if kind != pipe.PROGRESS:
            return kind, payload
        percent, message = orjson.loads(payload)
        report(percent, message)


def _outcome(kind: bytes, payload: bytes) -> bytes:
    if kind == pipe.RESULT:
        return payload
    if kind == pipe.PROBLEM:
        code, detail = orjson.loads(payload)
        raise every_problem()[code](detail)
    log.error("child_failed", traceback=payload.decode(errors="replace"))
    raise ChildFailed
