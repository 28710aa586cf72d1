"""The process that services are forked from: it has imported what they share, and opened nothing.

python -m shared.dev.launcher.fork_server FD: requests and answers are messages on the socket FD, whose other end has
the launcher (forked_process.py). The process has one thread and no event loop, so a fork of it is safe. A service's own
package is imported in its child only: one that cannot be imported stops no other.
"""

import gc
import json
import os
import selectors
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from shared.dev.launcher import verbs

SHARED: Final = (
    "alembic.command", "shared.background.listen_notify", "shared.cli", "shared.data.migrations", "shared.deps",
    "shared.events.rabbit", "shared.events.valkey_streams", "shared.limits", "shared.web.paging", "shared.web.sse",
)  # fmt: skip
"""What is imported once for all. Not the modules that add a table to the service that imports them (idempotency)."""

MAX_MESSAGE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class Request:
    """What a child runs, and the file to which it writes its output."""

    module: str
    verbs: list[str]
    environment: dict[str, str]
    output: int


def serve(launcher: socket.socket) -> Request | None:
    """Fork a child for each request. Returns the request in the child, and None once the launcher has ended."""
    with selectors.DefaultSelector() as selector:
        selector.register(launcher, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not launcher:
                    _report_end(launcher, selector, key)
                    continue
                request = _read(launcher)
                if request is None:
                    return None
                pid = os.fork()
                if pid == 0:
                    _close_all(selector)
                    return request
                os.close(request.output)
                with suppress(OSError):  # it has ended already
                    os.setpgid(pid, pid)  # here too: the launcher may signal the group as soon as it has the number
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
                _send(launcher, {"started": pid})


def become(request: Request) -> None:
    """Run the request as `python -m` would, in a process group of its own, with its own environment and output."""
    os.setpgid(0, 0)
    os.dup2(request.output, 1)
    os.dup2(request.output, 2)
    os.close(request.output)
    os.environ.clear()
    os.environ.update(request.environment)
    shown = f"{request.module} {request.verbs[0]}"
    Path("/proc/self/comm").write_text(shown, encoding="utf-8")  # the name in ps and top; the kernel cuts it
    gc.enable()
    verbs.run(request.module, request.verbs)


def _read(launcher: socket.socket) -> Request | None:
    message, files, _, _ = socket.recv_fds(launcher, MAX_MESSAGE_BYTES, 1)
    return Request(**json.loads(message), output=files[0]) if message else None


def _send(launcher: socket.socket, message: dict[str, Any]) -> None:
    with suppress(BrokenPipeError):  # the launcher has ended: the next read says so
        launcher.send(json.dumps(message).encode())


def _report_end(launcher: socket.socket, selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    selector.unregister(key.fileobj)
    os.close(key.fd)
    _, status = os.waitpid(key.data, 0)
    _send(launcher, {"ended": key.data, "code": os.waitstatus_to_exitcode(status)})


def _close_all(selector: selectors.BaseSelector) -> None:
    """In a child: what belongs to the server."""
    for key in list(selector.get_map().values()):
        os.close(key.fd)


def main(file: int) -> None:
    """Import, then fork until the launcher ends."""
    launcher = socket.socket(fileno=file)
    for module in SHARED:
        import_module(module)
    gc.collect()
    gc.disable()  # in this process: a collection writes to every object, which would end the sharing of its pages
    gc.freeze()
    request = serve(launcher)
    if request is not None:
        launcher.detach()
        become(request)


if __name__ == "__main__":
    main(int(sys.argv[1]))
