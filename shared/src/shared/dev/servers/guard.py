"""The guard: a process that outlives its holder just long enough to end everything that the holder started.

It reads lines from a pipe whose other end only the holder has. When the holder ends, by whatever signal, the pipe ends,
and the guard stops every registered process group, then whatever still carries the holder's mark in its environment
(RabbitMQ's epmd leaves its group). The same on every system; needs nothing of the holder but to die.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

import psutil

MARK: Final = "FLOTILLA_GUARDED_BY"
GRACE_S: Final = 5.0  # between the polite signal and SIGKILL


class Guard:
    """The holder's side. Register each process group as it starts; `close` ends what is still there."""

    def __init__(self) -> None:
        self.mark = uuid4().hex
        self._process = subprocess.Popen(  # noqa: S603 - this module, by this interpreter
            [sys.executable, "-m", "shared.dev.servers.guard", self.mark],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the holder's terminal must not reach it
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def environment(self, base: dict[str, str]) -> dict[str, str]:
        """`base` with the mark by which the guard finds a process that left its group."""
        return {**base, MARK: self.mark}

    def watch(self, pid: int, stop: signal.Signals = signal.SIGTERM) -> None:
        """End the process group of `pid` by `stop`, then SIGKILL, once the holder is gone."""
        self._tell(f"watch {pid} {int(stop)}")

    def forget(self, pid: int) -> None:
        """The group has ended and its number may belong to somebody else soon."""
        self._tell(f"forget {pid}")

    def close(self) -> None:
        """End whatever still runs, and the guard."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=4 * GRACE_S)

    def _tell(self, line: str) -> None:
        if self._process.stdin is None:
            raise BrokenPipeError("the guard has no pipe")
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()


@dataclass
class Watched:
    """The process groups of one holder, by the number of their leader."""

    mark: str
    groups: dict[int, signal.Signals] = field(default_factory=dict)

    def obey(self, line: str) -> None:
        match line.split():
            case ["watch", pid, stop]:
                self.groups[int(pid)] = signal.Signals(int(stop))
            case ["forget", pid]:
                self.groups.pop(int(pid), None)

    def end_all(self) -> None:
        """Stop the groups, then the marked stragglers: politely first, by SIGKILL after GRACE_S each."""
        for pid, stop in self.groups.items():
            _signal_group(pid, stop)
        if not _wait_until(lambda: not any(map(group_lives, self.groups))):
            for pid in self.groups:
                _signal_group(pid, signal.SIGKILL)
        stragglers = list(marked(self.mark))
        for process in stragglers:
            _signal(process, signal.SIGTERM)
        if stragglers and not _wait_until(lambda: not any(map(lives, stragglers))):
            for process in stragglers:
                _signal(process, signal.SIGKILL)


def lives(process: psutil.Process) -> bool:
    """Whether it still runs; a zombie that nobody reaps (a container's pid 1 may not) has ended."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def group_lives(pid: int) -> bool:
    """Whether any process of the group `pid` still runs, zombies aside."""
    return any(_group_of(process) == pid and lives(process) for process in psutil.process_iter())


def marked(mark: str) -> Iterable[psutil.Process]:
    """The processes that were started with this mark in their environment, the caller aside."""
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == mark and lives(process):
                yield process
        except (psutil.Error, OSError):  # ended meanwhile, or somebody else's
            continue


def _group_of(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid)
    except (ProcessLookupError, PermissionError):
        return None


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):  # gone; or macOS's answer for a group of zombies
        return


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        return


def _wait_until(done: Callable[[], bool]) -> bool:
    until = time.monotonic() + GRACE_S
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def main(mark: str) -> None:
    """Obey lines from the pipe until it ends, then end everything."""
    watched = Watched(mark)
    for line in sys.stdin:
        watched.obey(line)
    watched.end_all()


if __name__ == "__main__":
    main(sys.argv[1])
