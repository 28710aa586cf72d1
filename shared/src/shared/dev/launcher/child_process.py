"""The fleet's processes: started, heard, and started again with back-off when they die."""

import asyncio
import os
import signal
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.dev.launcher.logs import LogFile, Screen
from shared.dev.launcher.starting import StartedProcess, Starter
from shared.dev.servers.guard import Guard
from shared.dev.servers.server import ServerFailed, how_it_ended

PAUSES_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
STEADY_S: Final = 30.0  # who lived this long starts with the shortest pause again
STOP_S: Final = 8.0


@dataclass(frozen=True)
class Command:
    """What a process is started with."""

    name: str
    module: str
    verb: str
    environment: Mapping[str, str]
    url: str | None = None
    """Where `/readyz` answers; None for a process without one."""


class Child:
    """One process that is kept alive."""

    def __init__(self, command: Command, starter: Starter, guard: Guard, screen: Screen, logs: Path) -> None:
        self.command, self.restarts = command, 0
        self._starter, self._guard, self._screen = starter, guard, screen
        self._log = LogFile(logs, command.name)
        self._last: deque[str] = deque(maxlen=20)
        self._process: StartedProcess | None = None
        self._stopping = False
        self._task = asyncio.create_task(self._keep_alive(), name=command.name)

    @property
    def name(self) -> str:
        return self.command.name

    @property
    def pid(self) -> int | None:
        """Of the process that runs now; None between two."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process else None

    @property
    def last_lines(self) -> str:
        return "\n".join(self._last)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group; SIGKILL is a crash, after which it is started again."""
        if (pid := self.pid) is not None:
            os.killpg(pid, number)

    async def restart(self) -> None:
        """End the process in order; a new one starts at once."""
        self.signal(signal.SIGTERM)

    async def stop(self) -> None:
        """End it for good: SIGTERM, and SIGKILL where that was not heard."""
        self._stopping = True
        if self.pid is None:  # between two processes: it only waits
            self._task.cancel()
        self.signal(signal.SIGTERM)
        await asyncio.wait([self._task], timeout=STOP_S)
        if not self._task.done():
            self.signal(signal.SIGKILL)
            self._task.cancel()
            await asyncio.wait([self._task])
        self._log.close()

    async def _keep_alive(self) -> None:
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            began = loop.time()
            code = await self._run_once()
            if self._stopping:
                return
            failures = 0 if loop.time() - began > STEADY_S else failures + 1
            pause_s = 0.0 if code in (0, -signal.SIGTERM) else PAUSES_S[min(failures, len(PAUSES_S)) - 1]
            self.restarts += 1
            self._screen.say(
                f"{self.name} {how_it_ended(code)}; restarting it {f'in {pause_s:g} s' if pause_s else 'now'}"
            )
            await asyncio.sleep(pause_s)

    async def _run_once(self) -> int:
        environment = self._guard.environment(dict(self.command.environment))
        try:
            process = self._process = await self._starter.start(self.command.module, [self.command.verb], environment)
        except ServerFailed as failed:
            self._last.append(str(failed))
            return 1
        self._guard.watch(process.pid)
        if process.stdout is not None:
            await self._hear(process.stdout)
        code = await process.wait()
        self._guard.forget(process.pid)
        return code

    async def _hear(self, stream: asyncio.StreamReader) -> None:
        while True:
            try:
                raw = await stream.readline()
            except ValueError:  # longer than any line that we write; its rest follows as lines of their own
                continue
            if not raw:
                return
            line = raw.decode("utf-8", errors="replace").rstrip("\n")
            self._last.append(line)
            self._log.write(line)
            self._screen.show(self.name, line)
