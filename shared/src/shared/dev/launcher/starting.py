"""How the launcher starts a process: `python -m <module> <verb>` in a process group of its own, its output piped."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

MAX_LINE_BYTES: Final = 4 * 1024 * 1024


class StartedProcess(Protocol):
    """What the launcher needs of a process; asyncio's subprocesses have it."""

    pid: int

    @property
    def stdout(self) -> asyncio.StreamReader | None: ...

    @property
    def returncode(self) -> int | None: ...

    async def wait(self) -> int: ...


class Starter(Protocol):
    """Starts processes; the fork server (forked_process.py), or `Interpreters` where it cannot be used."""

    async def start(self, module: str, verbs: Sequence[str], environment: Mapping[str, str]) -> StartedProcess:
        """Run the verbs of `module` one after the other. Raises ServerFailed."""

    async def close(self) -> None:
        """Release what the starter holds; called when all of its processes have ended."""


class Interpreters:
    """Starts an interpreter for each process, which imports everything again: a change of any source counts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def start(self, module: str, verbs: Sequence[str], environment: Mapping[str, str]) -> StartedProcess:
        alone = [module, *verbs[0].split()] if len(verbs) == 1 else ["shared.dev.launcher.verbs", module, *verbs]
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", *alone,
            cwd=self._folder, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, start_new_session=True, limit=MAX_LINE_BYTES,
        )  # fmt: skip

    async def close(self) -> None:
        """Holds nothing."""
