"""The worker's folder for copies of files: its own while it lives, anybody's to remove once it is dead."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

_PREFIX: Final = "flotilla-worker-"
_NEW_S: Final = 60  # a folder this young may be about to be held


@asynccontextmanager
async def own_folder() -> AsyncIterator[Path]:
    """A folder of this process for the length of the block; what killed workers left behind is removed first."""
    sweep()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name, _held(Path(name)):
        yield Path(name)


def sweep() -> None:
    """Remove the folders that no process holds.

    By their locks and not by the names of processes: in a container every worker is process 1, its predecessor too.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # held, another user's, or gone by now
            if folder.stat().st_mtime < time.time() - _NEW_S:
                with _held(folder):
                    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which ends with the process. Raises BlockingIOError where another one holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
