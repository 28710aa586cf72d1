"""The launcher's side of fork_server.py: starts processes as forks of it, and learns how they ended."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from shared.dev.launcher.starting import MAX_LINE_BYTES
from shared.dev.servers.guard import Guard
from shared.dev.servers.server import ServerFailed

_MESSAGE_BYTES = 4096  # of the fork server: two numbers


class ForkedProcess:
    """A process whose start and end the fork server reports."""

    pid: int

    def __init__(self, stdout: asyncio.StreamReader, pipe: asyncio.ReadTransport) -> None:
        self.stdout, self.pipe = stdout, pipe
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def returncode(self) -> int | None:
        return self._code.result() if self._code.done() else None

    async def wait(self) -> int:
        return await asyncio.shield(self._code)

    def ended(self, code: int) -> None:
        self._code.set_result(code)


class ForkServer:
    """Starts processes in `folder` by forking one that has imported what they share.

    If that one dies, its children are ended, since nothing would report their end, and the next start replaces it.
    """

    def __init__(self, guard: Guard, folder: Path) -> None:
        self._guard = guard
        self._starting: deque[ForkedProcess] = deque()
        self._running: dict[int, ForkedProcess] = {}
        self._folder = folder
        self._process, self._socket = self._open()

    def _open(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process = subprocess.Popen(  # noqa: S603 - this package, by this interpreter
            [sys.executable, "-m", "shared.dev.launcher.fork_server", str(theirs.fileno())],
            cwd=self._folder, env=self._guard.environment(dict(os.environ)), stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()], start_new_session=True,
        )  # fmt: skip
        theirs.close()
        self._guard.watch(process.pid)
        asyncio.get_running_loop().add_reader(ours, self._receive)
        return process, ours

    @property
    def pid(self) -> int:
        return self._process.pid

    async def start(self, module: str, verbs: Sequence[str], environment: Mapping[str, str]) -> ForkedProcess:
        """Run the verbs of `module` one after the other. Raises ServerFailed where the fork server ended."""
        reading, writing = os.pipe()
        output, stdout = os.fdopen(reading, "rb"), asyncio.StreamReader(limit=MAX_LINE_BYTES)
        loop = asyncio.get_running_loop()
        pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdout), output)
        if self._socket.fileno() < 0:  # the last one has ended
            self._process, self._socket = self._open()
        process = ForkedProcess(stdout, pipe)
        self._starting.append(process)
        request = {"module": module, "verbs": verbs, "environment": dict(environment)}
        with suppress(ConnectionError):  # it has ended: `_receive` reports that
            socket.send_fds(self._socket, [json.dumps(request).encode()], [writing])
        os.close(writing)
        await process.started
        return process

    def _receive(self) -> None:
        message = b""
        with suppress(ConnectionError):
            message = self._socket.recv(_MESSAGE_BYTES)
        match json.loads(message) if message else {}:
            case {"started": pid}:
                process = self._running[pid] = self._starting.popleft()
                process.pid = pid
                if process.started.cancelled():  # stopped before it started
                    os.killpg(pid, signal.SIGKILL)
                else:
                    process.started.set_result(None)
            case {"ended": pid, "code": code}:
                self._running.pop(pid).ended(code)
            case _:
                self._lose()

    def _lose(self) -> None:
        """The fork server has ended: so do its children."""
        self._disconnect()
        for pid, process in self._running.items():
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            process.ended(-signal.SIGKILL)
        self._running.clear()
        for process in self._starting:
            failed = ServerFailed(
                "The process that the services are forked from has ended. Its output above shows why; then: make up"
            )
            if not process.started.cancelled():
                process.started.set_exception(failed)
        self._starting.clear()

    def _disconnect(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._process.wait()
        self._guard.forget(self._process.pid)

    async def close(self) -> None:
        """End the fork server."""
        if self._socket.fileno() >= 0:
            self._disconnect()
        for process in self._running.values():
            process.pipe.close()
