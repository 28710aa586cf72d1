"""A child process of the worker: runs one CPU-heavy function at a time, and ends when the worker does.

Started as `python -m tasks_service.worker.pool.child` by child_pool.py only. It imports no web framework, so that it
starts in a tenth of a second.
"""

import importlib
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import BinaryIO, Final

import orjson

from shared.problems import Problem
from tasks_service.worker.pool import pipe

_REPORT_EVERY_S: Final = 0.1
_ALLOWED: Final = "tasks_service.kinds."


def main() -> None:
    # The worker decides when its children end: a Ctrl-C or a TERM to the whole group must not cut work that it drains.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(5)  # the worker's event loop goes first: it keeps the leases
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever prints goes to the log and not into the frames
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin.buffer, tasks), daemon=True).start()
    while True:
        frame = _run(tasks.get(), answers)
        _write(answers, frame)


def _receive(stream: BinaryIO, tasks: "queue.SimpleQueue[bytes]") -> None:
    """Read in a thread of its own, so that the worker's death ends this process in the middle of its work."""
    while (frame := pipe.read(stream)) is not None:
        tasks.put(frame[1])
    os._exit(0)


def _run(task: bytes, answers: BinaryIO) -> bytes:
    try:
        asked = orjson.loads(task)
        function = _function(asked["function"])
        return pipe.encoded(pipe.RESULT, function(_Reporter(answers), **asked["arguments"]))
    except Problem as problem:
        return pipe.encoded(pipe.PROBLEM, orjson.dumps([problem.code, problem.detail]))
    except Exception:  # noqa: BLE001 - one unit of work ends here; the worker logs it and fails the attempt
        return pipe.encoded(pipe.CRASH, traceback.format_exc().encode(errors="replace"))


def _function(name: str) -> Callable[..., bytes]:
    module, _, attribute = name.partition(":")
    if not module.startswith(_ALLOWED):
        raise ValueError(f"{module} holds no work for a child process")
    found: Callable[..., bytes] = getattr(importlib.import_module(module), attribute)
    return found


class _Reporter:
    """Passes progress on to the worker, ten times a second at most."""

    def __init__(self, answers: BinaryIO) -> None:
        self._answers, self._next_at = answers, 0.0

    def __call__(self, percent: float, message: str | None) -> None:
        now = time.monotonic()
        if now >= self._next_at:
            self._next_at = now + _REPORT_EVERY_S
            _write(self._answers, pipe.encoded(pipe.PROGRESS, orjson.dumps([percent, message])))


def _write(answers: BinaryIO, frame: bytes) -> None:
    """A pipe takes as much as it has room for; go on until all of it is in."""
    rest = memoryview(frame)
    while rest:
        rest = rest[answers.write(rest) :]


if __name__ == "__main__":
    main()
