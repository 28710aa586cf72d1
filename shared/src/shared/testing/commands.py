"""Commands of a service (`python -m chat_service events list`), each a process that is forked from a warm one.

To import a service takes one to three seconds, which each command would spend again.
"""

import asyncio
import json
import os
import runpy
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

Ended = tuple[int, str, str]
"""Exit status, output and errors."""


@dataclass(frozen=True)
class Commands:
    """Runs the commands of one service, one at a time."""

    package: str
    _folder: Path
    _process: subprocess.Popen[str]
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self, *arguments: str, environment: Mapping[str, str]) -> Ended:
        """`python -m <package> …`, with these variables beside this process's own."""
        asked = {"arguments": arguments, "environment": {**os.environ, **environment}}
        async with self._turn:
            status = int(await asyncio.to_thread(self._ask, json.dumps(asked)))
            out, err = ((self._folder / name).read_text() for name in ("out", "err"))
        return status, out, err

    def _ask(self, line: str) -> str:
        asked, answered = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answered is not None
        asked.write(f"{line}\n")
        asked.flush()
        return answered.readline()


@asynccontextmanager
async def commands_of(package: str) -> AsyncIterator[Commands]:
    """The commands of a service; its package is imported when the first of them is run."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", __name__, package, folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603, ASYNC220 - our own; returns at once, and ends with its input
            yield Commands(package, Path(folder), process)


def _serve(package: str, folder: Path) -> None:
    """Answer each line by the exit status of the command in it."""
    for module in (f"{package}.app", "shared.cli"):
        import_module(module)
    for line in sys.stdin:
        asked = json.loads(line)
        if (pid := os.fork()) == 0:
            os.environ.clear()
            os.environ.update(asked["environment"])
            _redirect(folder)
            sys.argv = [package, *asked["arguments"]]
            status = _run(package)
            sys.stdout.flush()
            os._exit(status)  # the usual end of an interpreter frees each object of the service, for about a second
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)  # noqa: T201 - the answer


def _run(package: str) -> int:
    """The exit status of the command in `sys.argv`."""
    try:
        runpy.run_module(package, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)  # noqa: T201 - as an interpreter does
            return 1
        return ended.code or 0
    except Exception:  # noqa: BLE001 - as an interpreter does
        traceback.print_exc()
        return 1
    return 0


def _redirect(folder: Path) -> None:
    with Path(os.devnull).open() as nothing, (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        files: list[tuple[IO[str], int]] = [(nothing, 0), (out, 1), (err, 2)]
        for file, descriptor in files:
            os.dup2(file.fileno(), descriptor)


if __name__ == "__main__":
    _serve(sys.argv[1], Path(sys.argv[2]))
