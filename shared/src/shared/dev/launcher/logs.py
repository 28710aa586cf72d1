"""Log lines of the fleet: written as they came, shown readably, and put together again as one request's story."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TextIO

from shared.telemetry.logs import colours

MAX_FILE_BYTES: Final = 20 * 1024 * 1024
_COLOURS: Final = (36, 32, 35, 34, 33, 96, 92, 95, 94, 93)
_LEVELS: Final = {"debug": 2, "warning": 33, "error": 31, "critical": 31, "exception": 31}
_TROUBLE: Final = frozenset({"error", "critical", "exception"})
_HEAD: Final = ("timestamp", "level", "event", "service", "logger")
_LAST: Final = ("request_id", "trace_id", "span_id")


class LogFile:
    """One process's lines on disk; the file before the last 20 MiB is kept as `.1`."""

    def __init__(self, folder: Path, process: str) -> None:
        self._path = folder / f"{process}.log"
        self._file = self._path.open("a", encoding="utf-8")

    def write(self, line: str) -> None:
        """Without a word where the disk is full: who writes the line must not wait for room."""
        with suppress(OSError):
            self._file.write(f"{line}\n")
            self._file.flush()
            if self._file.tell() > MAX_FILE_BYTES:
                self._file.close()
                self._path.replace(self._path.with_suffix(".log.1"))
                self._file = self._path.open("a", encoding="utf-8")

    def close(self) -> None:
        with suppress(OSError):  # a last line for which there is no room
            self._file.close()


class Screen:
    """The terminal: each line with its process before it, in colour where somebody looks."""

    def __init__(self, out: TextIO, *, colour: bool | None = None) -> None:
        self._out = out
        self.colour = colours(out) if colour is None else colour
        self.quiet = False
        """Only errors are shown: while a fleet starts, who is up early warns of those who are not yet."""

    def say(self, text: str) -> None:
        """The launcher's own word."""
        self._print(self.painted(text, 1))

    def show(self, process: str, line: str) -> None:
        """A line of a process, JSON or not."""
        parsed = parse(line)
        if self.quiet and parsed is not None and parsed.get("level") not in _TROUBLE:
            return
        self._prefixed(process, line if parsed is None else self.rendered(parsed))

    def show_parsed(self, process: str, line: dict[str, Any]) -> None:
        """A line that was read back from a file."""
        self._prefixed(process, self.rendered(line))

    def _prefixed(self, process: str, text: str) -> None:
        self._print(f"{self.painted(f'{process:<9}', _colour_of(process))} {text}")

    def rendered(self, line: dict[str, Any]) -> str:
        """`12:00:01.123 request GET /rooms 200 …`: the fields that matter first, the id last and faint."""
        level = str(line.get("level", "info"))
        words = [self.painted(_time(line), 2), self.painted(str(line.get("event", "")), _LEVELS.get(level, 0))]
        fields = {key: value for key, value in line.items() if value is not None and key not in _HEAD}
        trouble = fields.pop("exception", None)
        words += [_field(key, value) for key, value in fields.items() if key not in _LAST]
        words += [self.painted(_field(key, fields[key]), 2) for key in _LAST if key in fields][:1]
        return " ".join(word for word in words if word) + (f"\n{_trouble(trouble)}" if trouble else "")

    def painted(self, text: str, code: int) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and code and text else text

    def _print(self, text: str) -> None:
        with suppress(BrokenPipeError):  # nobody looks any more (`make up | head`); the files have it all
            self._out.write(f"{text}\n")
            self._out.flush()


def parse(line: str) -> dict[str, Any] | None:
    """The JSON object in a line; None for anything else that a process may print."""
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def story(folder: Path, request_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Every line about one request, of all processes, in order of time: (process, line).

    The request id joins the services that it went through; the trace id that those lines carry joins events and jobs.
    """
    lines = list(_all_lines(folder))
    traces = {line["trace_id"] for _, line in lines if line.get("request_id") == request_id and "trace_id" in line}
    told = [
        (process, line)
        for process, line in lines
        if line.get("request_id") == request_id or line.get("trace_id") in traces
    ]
    return sorted(told, key=lambda entry: str(entry[1].get("timestamp", "")))


def _all_lines(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(folder.glob("*.log*")):
        process = path.name.partition(".log")[0]
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from ((process, line) for line in map(parse, file) if line is not None)


def _time(line: dict[str, Any]) -> str:
    return str(line.get("timestamp", "")).partition("T")[2][:12].rstrip("Z")


def _field(key: str, value: object) -> str:
    if key in ("method", "route", "path", "status"):
        return str(value)
    if key == "duration_ms":
        return f"{value} ms"
    return f"{key}={value if isinstance(value, str) else json.dumps(value, default=str)}"


def _trouble(exception: object) -> str:
    """A traceback, as structlog's dict_tracebacks or as text."""
    if not isinstance(exception, list):
        return str(exception)
    return "\n".join(_chain(exception))


def _chain(exceptions: Iterable[dict[str, Any]]) -> Iterator[str]:
    for one in exceptions:
        yield f"    {one.get('exc_type')}: {one.get('exc_value')}"
        yield from (
            f"      {frame.get('filename')}:{frame.get('lineno')} in {frame.get('name')}"
            for frame in one.get("frames", [])[-4:]
        )


def _colour_of(process: str) -> int:
    """The same colour for a process in every run."""
    return _COLOURS[hashlib.sha256(process.encode()).digest()[0] % len(_COLOURS)]
