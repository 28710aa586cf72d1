"""A server as a child process: a group of its own, a free or given port, ready when a real connection was answered."""

import asyncio
import fcntl
import os
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final

from shared.dev.servers.guard import Guard

HOST = "127.0.0.1"
_PORTS: Final = range(20_000, 32_768)
_SHARE: Final = 256


class ServerFailed(Exception):
    """A server ended, or did not answer in time; the message has the last lines that it said."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at this moment, no two alike, and that no other process is given by this function.

    Below those that systems give to clients by themselves: a port that is bound a while after it was chosen would be
    taken by some connection now and then.
    """
    found: list[int] = []
    share = _share(os.getpid())
    for _ in range(len(share)):
        share.rotate(-1)
        with socket.socket() as listener, suppress(OSError):
            listener.bind((HOST, share[0]))
            found.append(share[0])
        if len(found) == count:
            return found
    raise ServerFailed(f"fewer than {count} of the ports {min(share)} to {max(share)} are free")


@cache
def _share(pid: int) -> deque[int]:
    """A part of the range for this process alone while it lives: what it chose and has not bound yet stays its own.

    The lock is one of the system's, which a process that is killed gives up, too.
    """
    folder = Path(tempfile.gettempdir()) / f"flotilla-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for start in range(_PORTS.start, _PORTS.stop, _SHARE):
        held = os.open(folder / f"{start}", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(held)
        else:
            return deque(range(start, min(start + _SHARE, _PORTS.stop)))
    raise ServerFailed(f"other processes hold all ports from {_PORTS.start} to {_PORTS.stop}; end some of them")


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    return free_ports(1)[0]


class Server(ABC):
    """One server process on 127.0.0.1 with its files in `folder`; started again it has the same port and data."""

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    start_timeout_s: ClassVar[float] = 30.0

    def __init__(self, folder: Path, guard: Guard, *, port: int | None = None) -> None:
        self.folder, self.guard = folder, guard
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._asked_to_end = False

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect to."""

    @property
    @abstractmethod
    def version(self) -> str:
        """The release, such as `18.4`."""

    @abstractmethod
    async def start(self) -> None:
        """Start it and wait until it answers. Raises ServerFailed or BinaryMissing."""

    @abstractmethod
    async def answers(self) -> bool:
        """Whether a real connection is answered now."""

    @property
    def log_file(self) -> Path:
        return self.folder / "output.log"

    async def stop(self) -> None:
        """End it in order: its stop signal, then SIGKILL after ten seconds."""
        if self.process is None:
            return
        self._asked_to_end = True
        self.signal(self.stop_signal)
        if not await _ends(self.process, within_s=10):
            await self.kill()
        self._ended()

    async def kill(self) -> None:
        """End it as a crash would: SIGKILL to the whole group."""
        if self.process is not None:
            self._asked_to_end = True
            self.signal(signal.SIGKILL)
            await _ends(self.process, within_s=10)
            self._ended()

    @property
    def ended_by_itself(self) -> int | None:
        """The exit code, where it ended and nobody here asked it to; else None."""
        return None if self.process is None or self._asked_to_end else self.process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the group (SIGSTOP freezes it, SIGCONT thaws it)."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, number)

    async def run(self, command: Sequence[str | Path], env: Mapping[str, str] | None = None, **options: Any) -> None:
        """Start `command` in a group of its own, register it with the guard, wait until it answers."""
        environment = self.guard.environment(dict(os.environ if env is None else env))
        with self.log_file.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: ASYNC220, S603 - returns at once; commands of our own making
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment,
                start_new_session=True, **options,
            )  # fmt: skip
        self._asked_to_end = False
        self.guard.watch(self.process.pid, self.stop_signal)
        await self._answered()

    async def _answered(self) -> None:
        until = asyncio.get_running_loop().time() + self.start_timeout_s
        while not await self.answers():
            ended = self.process is None or self.process.poll() is not None
            if ended or asyncio.get_running_loop().time() > until:
                await self.kill()
                what = "ended while it was starting" if ended else f"did not answer within {self.start_timeout_s:.0f} s"
                raise ServerFailed(f"{self.name} {what}. The end of {self.log_file}:\n{tail(self.log_file)}")
            await asyncio.sleep(0.02)

    def _ended(self) -> None:
        if self.process is not None:
            self.guard.forget(self.process.pid)
            self.process = None


async def _ends(process: subprocess.Popen[bytes], within_s: float) -> bool:
    until = asyncio.get_running_loop().time() + within_s
    while process.poll() is None:
        if asyncio.get_running_loop().time() > until:
            return False
        await asyncio.sleep(0.02)
    return True


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"ended with code {code}"
    return f"was ended by {signal.Signals(-code).name}"


def tail(file: Path, lines: int = 15) -> str:
    """The last lines of a log; empty when there is none."""
    if not file.is_file():
        return ""
    return "\n".join(file.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
