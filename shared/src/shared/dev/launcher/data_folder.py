"""The data folder (`.data/`): databases, keys, secrets, files, logs, and the lock that says which launcher runs."""

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shared.dev.identity import write_private
from shared.dev.servers.privileges import remove_outside


class FolderUnusable(Exception):
    """The data folder cannot be read or written by this user; the message says why."""


class AlreadyRuns(Exception):
    """Another launcher holds the data folder; the message says which and what to do."""


@dataclass(frozen=True)
class RunningFleet:
    """What a launcher tells the other commands about itself."""

    pid: int
    gateway_url: str
    """Empty where one service runs alone."""
    mail_url: str
    ports: dict[str, int] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)
    public_url: str = "http://localhost:8000"
    """The issuer of tokens, and their audience."""
    alone: str = ""
    """The service that runs without a fleet; empty for a fleet."""

    @property
    def announced(self) -> bool:
        """Whether the launcher has announced itself; until then it is starting."""
        return self.pid != 0


class DataFolder:
    """The places in the data folder. Everything in it may be removed while nothing runs: `make reset` does."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def keys(self) -> Path:
        return self.path / "keys"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def files(self) -> Path:
        return self.path / "files"

    def make(self) -> None:
        """Private to its owner: it holds keys and people's data. Raises FolderUnusable."""
        with self._used():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.keys, self.logs, self.files):
                folder.mkdir(mode=0o700, exist_ok=True)

    def secret(self, name: str) -> str:
        """A secret made at the first asking and kept; base64url of 32 bytes."""
        path = self.keys / f"{name}.secret"
        if not path.is_file():
            write_private(path, secrets.token_urlsafe(32))
        return path.read_text(encoding="utf-8").strip()

    def secret_file(self, name: str) -> Path:
        """Where `secret(name)` is kept, for a process that reads the file itself."""
        self.secret(name)
        return self.keys / f"{name}.secret"

    def environment_file(self, process: str) -> Path:
        """Where the environment of a process is written, for a debugger and for `make command-…`."""
        return self.path / f"{process}.env"

    def running(self) -> RunningFleet | None:
        """The fleet that runs on this folder now; None when none does. Raises FolderUnusable."""
        with self._used():
            if not self._lock_file.is_file():
                return None
            opened = self._lock_file.open("r+", encoding="utf-8")
        with opened as file:
            if _locked(file.fileno()):
                return None  # the lock was free: its holder is gone, however it ended
            return _announced(file.read())

    @contextmanager
    def held(self) -> Iterator["Lock"]:
        """Hold the folder for this process. Raises AlreadyRuns or FolderUnusable.

        The lock is the kernel's: it ends with its holder, even by kill -9, and its number is never somebody else's.
        """
        self.make()
        with self._used():
            opened = self._lock_file.open("a+", encoding="utf-8")
        with opened as file:
            if not _locked(file.fileno()):
                raise AlreadyRuns(_who_runs(self.running()))
            file.truncate(0)  # a launcher that was killed left its own
            yield Lock(file)
            file.truncate(0)

    def remove(self) -> None:
        """Remove everything, PostgreSQL's place outside included. Raises AlreadyRuns while a launcher runs."""
        if self.path.is_dir():
            with self.held():
                remove_outside(self.path / "postgres")
                shutil.rmtree(self.path)

    @contextmanager
    def _used(self) -> Iterator[None]:
        """Whoever started a fleet as root once, and then as themselves, hears of it in a sentence."""
        try:
            yield
        except OSError as error:
            raise FolderUnusable(
                f"The data folder {self.path} cannot be used: {error.strerror} ({error.filename}). "
                "Change its owner to this user, or remove it, or use another: python -m shared.dev up --data <folder>"
            ) from None

    @property
    def _lock_file(self) -> Path:
        return self.path / "launcher.lock"


class Lock:
    """The held lock: what is told through it, others read."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def announce(self, fleet: RunningFleet) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._file.write(json.dumps(asdict(fleet)))
        self._file.flush()
        os.fchmod(self._file.fileno(), 0o600)


def _locked(descriptor: int) -> bool:
    """Take the lock if it is free."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _announced(text: str) -> RunningFleet:
    """The announcement of the holder; while it is starting, an empty one."""
    return RunningFleet(**json.loads(text)) if text else RunningFleet(pid=0, gateway_url="", mail_url="")


def _who_runs(fleet: RunningFleet | None) -> str:
    if fleet is None or not fleet.pid:
        return "Another launcher is starting on this data folder. Wait for it, or stop it."
    alone = f"{fleet.alone or 'A service'} is already running alone"
    what = f"A fleet is already running at {fleet.gateway_url}" if fleet.gateway_url else alone
    return f"{what} (pid {fleet.pid}). Stop it with Ctrl-C in its terminal, or: kill {fleet.pid}"
