"""What the `make bench` scripts share: pinned processes, load by wrk, CPU time from /proc, medians with their range.

The subject has one core for itself; load generator and backend share the other. A failed request ends the script.
"""

import os
import re
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Final

import psutil
import typer

UNDER_TEST, LOAD = ("0", "1")
"""The cores."""

_CALIBRATION: Final = 5_000_000
_START_S: Final = 90


def calibration_s() -> float:
    """The CPU time of a fixed Python loop: figures of two runs compare only where it is within 10 %."""
    began = time.process_time()
    for _ in range(_CALIBRATION):
        pass
    return time.process_time() - began


def skip_without(*commands: str) -> None:
    """Exit and say so where a command is not installed."""
    for needed in commands:
        if shutil.which(needed) is None:
            raise SystemExit(f"SKIPPED: {needed} is not installed (Debian: apt-get install {needed}); nothing measured")


def cpu_s(root: psutil.Process) -> float:
    """CPU seconds of a process, its descendants, and those of them that ended and were waited for."""
    used = sum(root.cpu_times()[:4])
    for child in root.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # ended since: it counts in its parent's
            used += sum(child.cpu_times()[:4])
    return used


@contextmanager
def running(core: str, command: Sequence[str], port: int, **environment: str) -> Iterator[int]:
    """A process pinned to a core, once it listens; its pid."""
    pinned = ["taskset", "-c", core] if shutil.which("taskset") else []
    process = subprocess.Popen(  # noqa: S603 - the commands are the scripts' own
        [*pinned, *command], stdout=subprocess.DEVNULL, env={**os.environ, **environment}
    )
    try:
        _wait_until_listening(process, port)
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait_until_listening(process: "subprocess.Popen[bytes]", port: int) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"{process.args!r} does not listen on {port}")


def request(url: str, method: str = "GET", body: str | None = None, **headers: str) -> tuple[int, bytes]:
    """Status and body of the response to one request."""
    host, _, path = url.removeprefix("http://").partition("/")
    connection = HTTPConnection(host, timeout=10)
    try:
        connection.request(method, f"/{path}", body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def wait_until_ready(url: str) -> None:
    """Exit unless `/readyz` answers 200 in time."""
    until = time.monotonic() + _START_S
    while request(f"{url}/readyz")[0] != 200:
        if time.monotonic() > until:
            raise SystemExit(f"{url} did not become ready")
        time.sleep(0.1)


@dataclass(frozen=True)
class Load:
    """The result of one run of wrk."""

    requests_per_s: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    backend_us: float
    """CPU of the subject's backend, such as PostgreSQL, per request."""


@dataclass
class Subject:
    """What is put under load: where, with which headers, and whose CPU counts."""

    name: str
    url: str
    pids: Sequence[int] = ()
    headers: Sequence[str] = ()
    backend_pids: Sequence[int] = ()
    connections: int = 32
    script: str | None = None
    """A Lua script for wrk that makes the requests; None: GET."""
    rounds: list[Load] = field(default_factory=list)

    def median(self, figure: str) -> float:
        return float(statistics.median(getattr(run, figure) for run in self.rounds))

    def spread(self, figure: str, form: str = "{:,.0f}") -> str:
        """Median and range of all rounds."""
        return spread([getattr(run, figure) for run in self.rounds], form)


def spread(figures: Sequence[float], form: str = "{:,.0f}") -> str:
    """Median and range."""
    low, middle, high = (form.format(figure) for figure in (min(figures), statistics.median(figures), max(figures)))
    return f"{middle} ({low}-{high})"


def measure(subjects: Sequence[Subject], rounds: int, seconds: int) -> Iterator[int]:
    """Put load on each subject in turn, `rounds` times; yields before each round, so that it can be prepared."""
    for number in range(rounds):
        yield number
        for subject in subjects:
            subject.rounds.append(load(subject, seconds))
            typer.echo(f"round {number + 1}: {subject.name}: {subject.rounds[-1].requests_per_s:,.0f}/s")


def load(subject: Subject, seconds: int, *, failures_expected: bool = False) -> Load:
    """Put load on the subject. Exits if a request failed, unless failures are expected."""
    pinned = ["taskset", "-c", LOAD] if shutil.which("taskset") else []
    headers = [argument for header in subject.headers for argument in ("-H", header)]
    scripted = ["-s", subject.script] if subject.script else []
    command = [
        *pinned,
        "wrk",
        "-t1",
        f"-c{subject.connections}",
        f"-d{seconds}s",
        "--latency",
        *scripted,
        *headers,
        subject.url,
    ]
    before, backend_before = _used_s(subject.pids), _used_s(subject.backend_pids)
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout  # noqa: S603 - wrk
    used, backend_used = _used_s(subject.pids) - before, _used_s(subject.backend_pids) - backend_before
    if not failures_expected and (failures := re.search(r"(Non-2xx.*|Socket errors.*)", shown)):
        raise SystemExit(f"{subject.name}: {failures[1]}; results with failed requests do not count")
    requests = int(_found(r"(\d+) requests in", shown))
    return Load(
        requests_per_s=float(_found(r"Requests/sec:\s+([\d.]+)", shown)),
        cpu_us=used * 1e6 / requests,
        p50_ms=_ms(_found(r"(?m)^\s+50%\s+(\S+)", shown)),
        p99_ms=_ms(_found(r"(?m)^\s+99%\s+(\S+)", shown)),
        backend_us=backend_used * 1e6 / requests,
    )


def _used_s(pids: Sequence[int]) -> float:
    return sum(cpu_s(psutil.Process(pid)) for pid in pids)


def _found(pattern: str, text: str) -> str:
    if (found := re.search(pattern, text)) is None:
        raise SystemExit(f"unexpected output of wrk:\n{text}")
    return found[1]


def _ms(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()  # type: ignore[union-attr]  # wrk's own format
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[unit]
