"""What a process did that no client's mistake explains."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import httpx2
import psutil

from shared.testing.broken_clients.client import BrokenClient, Target, Wire
from shared.testing.broken_clients.http_clients import http_clients
from shared.testing.broken_clients.websocket_clients import websocket_clients
from shared.testing.processes import ServiceProcess
from shared.testing.waiting import eventually

CATALOGUE: Final = (*http_clients(), *websocket_clients())

_AT_ONCE: Final = 10  # clients; what the process logs is reported for all of them

_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_FAILURE: Final = re.compile(
    '"level": "(error|critical)"|Traceback|Exception ignored|never retrieved|was never awaited|Task was destroyed'
)


@dataclass
class Findings:
    """What a process did that no client's mistake explains, by client."""

    process: ServiceProcess
    target: Target
    wrong: dict[str, list[str]] = field(default_factory=dict)
    _read: int = 0

    async def meet(self, clients: Sequence[BrokenClient]) -> None:
        """Let the clients do their harm at once, and look whether a good request is still answered."""
        for client, wrong in zip(clients, await asyncio.gather(*map(self._met, clients)), strict=True):
            self.note(client.name, wrong)
        async with httpx2.AsyncClient(base_url=self.target.url, timeout=10) as http:
            good = await http.get(self.target.get, headers=dict(self.target.sign_in()))
        wrong = [] if good.status_code == 200 else [f"a good request is answered {good.status_code}: {good.text[:200]}"]
        self.note(", ".join(client.name for client in clients), [*wrong, *self.logged()])

    async def _met(self, client: BrokenClient) -> list[str]:
        """What was wrong with the answers to the client."""
        wire = await Wire.opened(self.target.url)
        try:
            async with asyncio.timeout(20):
                await client.script(wire, self.target)
        finally:
            await wire.close()
        statuses = {int(status) for status in _STATUS.findall(wire.received)}
        wrong = [f"answered {status}" for status in statuses if status >= 500]
        if wire.ended and 101 not in statuses and not _says_close(wire.received):
            wrong.append(f"closed without saying so: {wire.received[-600:]!r}")
        return wrong

    def note(self, clients: str, wrong: Sequence[str]) -> None:
        if wrong:
            self.wrong.setdefault(clients, []).extend(wrong)

    def logged(self) -> Iterator[str]:
        text = self.process.log.read_text(encoding="utf-8", errors="replace")
        lines, self._read = text[self._read :].splitlines(), len(text)
        warnings = [line for line in lines if '"level": "warning"' in line]
        if len(warnings) > _AT_ONCE:
            yield f"{len(warnings)} warnings, such as {warnings[-1][:300]}"
        for line in lines:
            if not line.startswith("{") or _FAILURE.search(line):
                yield line[:1500]

    async def unfinished(self) -> list[str]:
        """What the process counts as open or in progress, besides this question."""
        async with httpx2.AsyncClient(base_url=self.target.operators_url or self.target.url) as http:
            lines = (await http.get("/metrics")).text.splitlines()
        counts = {"flotilla_http_requests_in_flight": 1.0, "flotilla_chat_connections": 0.0}
        return [
            line
            for line in lines
            for name, own in counts.items()
            if line.startswith(f"{name} ") and float(line.split()[1]) > own
        ]

    def connections(self) -> list[str]:
        """Those that the process holds to its clients."""
        port = urlsplit(self.target.url).port
        held = psutil.Process(self.process.pid).net_connections("tcp")
        return [
            f"{one.status} from {one.raddr}"
            for one in held
            if one.laddr.port == port and one.status != psutil.CONN_LISTEN
        ]


def _says_close(received: bytes) -> bool:
    """Whether the last response says that the connection ends (RFC 9112, section 9.6)."""
    starts = [found.start() for found in _STATUS.finditer(received)]
    last = received[starts[-1] if starts else 0 :].partition(b"\r\n\r\n")[0]
    return b"\r\nconnection: close" in last.lower()


async def _drained(process: ServiceProcess, target: Target) -> list[str]:
    """Stop the process while it reads a body; what was wrong with the answer."""
    wire = await Wire.opened(target.url)
    body = b"{}"
    await wire.send(target.json(body)[: -len(body)])
    async with httpx2.AsyncClient(base_url=target.url) as http:
        await http.get("/livez")  # so the process has read what was sent before
    process.process.terminate()

    async def refuses() -> bool:
        try:
            await (await Wire.opened(target.url)).close()
        except ConnectionError:  # refused, or reset: the socket was closed while this connection waited in its backlog
            return True
        return False

    await eventually(refuses, within_s=10, saying="no connection is accepted any more")
    await wire.send(body)
    await wire.answered()
    await wire.close()
    wrong = [] if _says_close(wire.received) else [f"the answer does not say close: {wire.received!r}"]
    return wrong if await process.ended() else [*wrong, "SIGTERM did not end the process in 10 s"]


async def survives(process: ServiceProcess, target: Target) -> None:
    """Send every client of the catalogue to the process. Raises AssertionError with what went wrong, by client."""
    found = Findings(process, target)
    able = [client for client in CATALOGUE if getattr(target, client.needs) is not None]
    for start in range(0, len(able), _AT_ONCE):
        await found.meet(able[start : start + _AT_ONCE])
    await eventually(lambda: not found.connections(), within_s=60, saying="the process holds no connection")

    async def finished() -> bool:
        return not await found.unfinished()

    await eventually(finished, within_s=30, saying="nothing is in progress any more")
    found.note("the end", [*await _drained(process, target), *found.logged()])
    assert not found.wrong, "\n".join(f"{clients}: {wrong}" for clients, wrong in found.wrong.items())
