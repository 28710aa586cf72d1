"""A small mounted file that may be replaced while the process runs: a rotated key, an edited trust file."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

import structlog

T = TypeVar("T")

CHECK_EVERY_S: Final = 1.0  # one stat (2 µs) a second and file, however many tokens are verified

log = structlog.get_logger()


class WatchedFile(Generic[T]):
    """What `parse` makes of a file's bytes, made again when the file changes.

    The first reading must succeed. Later a file that is gone or faulty changes nothing but the log: what was read last
    stays, so a half-finished edit ends no sign-in. `errors` are the exceptions with which `parse` refuses.
    """

    def __init__(
        self,
        path: Path,
        parse: Callable[[bytes], T],
        *,
        errors: tuple[type[Exception], ...],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._parse, self._clock = path, parse, clock
        self._errors: tuple[type[Exception], ...] = (OSError, *errors)
        self._seen = self._signature()
        self._checked_at = clock()
        self._value = parse(path.read_bytes())

    def current(self) -> T:
        """The value of the file as it was at most a second ago."""
        now = self._clock()
        if now - self._checked_at >= CHECK_EVERY_S:
            self._checked_at = now
            self._look()
        return self._value

    def _look(self) -> None:
        try:
            seen = self._signature()
            if seen == self._seen:
                return
            self._seen = seen  # before parsing: a faulty file is reported once, not every second
            self._value = self._parse(self._path.read_bytes())
            log.info("mounted_file_reloaded", file=self._path.name)
        except self._errors as error:
            log.error("mounted_file_kept_as_it_was", file=self._path.name, reason=type(error).__name__)

    def _signature(self) -> tuple[int, int, int]:
        """Changes with an edit in place, a rename over it, and Kubernetes' swap of a symbolic link."""
        status = self._path.stat()
        return status.st_mtime_ns, status.st_ino, status.st_size
