"""Processes of a test's own."""

import subprocess
from typing import IO

import psutil

from shared.dev.servers.guard import lives


def started(*command: str) -> subprocess.Popen[bytes]:
    """Start a command in a group of its own; its output can be read."""
    return subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)  # noqa: S603 - the test's own command


def output(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout is not None
    return process.stdout


def ended(process: subprocess.Popen[bytes]) -> None:
    """Kill it as hard as there is, and reap it."""
    process.kill()
    process.wait()
    output(process).close()


def gone(pid: int) -> bool:
    """Whether the process has ended; so has a zombie that is not reaped."""
    try:
        return not lives(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return True
