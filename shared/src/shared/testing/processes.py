"""Processes of a test's own."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx2
import psutil

from shared.dev.servers.guard import lives
from shared.dev.servers.server import free_port
from shared.testing.waiting import eventually


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


def environment(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Settings as environment variables: what a service's test makes its settings from, for a process."""
    found: dict[str, str] = {}
    for name, value in values.items():
        variable = f"{prefix}{name}".upper()
        if isinstance(value, Mapping):
            found |= environment(value, f"{prefix}{name}__")
        else:
            found[variable] = json.dumps(value) if isinstance(value, tuple | list) else str(value)
    return found


@dataclass(frozen=True)
class ServiceProcess:
    """`python -m <package> serve`, and what it logs."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid

    async def ended(self) -> bool:
        """Whether it ends within ten seconds."""
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self.process.wait, 10)
        return self.process.returncode is not None


@asynccontextmanager
async def service_process(package: str, values: Mapping[str, Any], log: Path) -> AsyncIterator[ServiceProcess]:
    """Run the service with these settings, logging to `log`; the block begins once it is ready."""
    port = free_port()
    with log.open("wb") as written:
        process = subprocess.Popen(  # noqa: ASYNC220, S603 - returns at once; our own command line
            [sys.executable, "-m", package, "serve", "--port", str(port)],
            env=os.environ | environment(values),
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        async with httpx2.AsyncClient(base_url=url) as client:

            async def ready() -> bool:
                assert process.poll() is None, f"see {log}"
                with suppress(httpx2.TransportError):
                    return (await client.get("/readyz")).status_code == 200
                return False

            await eventually(ready, within_s=90, saying=f"{package} is ready")
        yield ServiceProcess(url, log, process)
    finally:
        process.kill()
        process.wait()
