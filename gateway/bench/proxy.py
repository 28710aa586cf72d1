"""The gateway's cost per request, compared in one run with a direct request and with nginx as the proxy.

    .venv/bin/python gateway/bench/proxy.py [--rounds 5] [--seconds 3]

A backend responds with 300 bytes. Each round puts the same load (wrk, 32 connections) on the backend itself, on nginx
in front of it, on the gateway as a plain proxy (a public route without a limit), and on the gateway with all policies:
token, revocations, tenant, exact limit in Valkey, scopes, log line. The subject has one core for itself; load and
backend share the other. Results: CPU time of its processes per request and requests per second, as median and range.
"""

import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Final

import orjson
import psutil
import typer

from shared.dev.servers.binaries import valkey_binary
from shared.identity.access_tokens import sign_access_token
from shared.identity.keys import SigningKey
from shared.testing.people import People

PUBLIC_URL: Final = "http://localhost:8000"
BODY: Final = "x" * 300
UNDER_TEST, LOAD = ("0", "1")
_SCALE: Final = 100  # an enterprise person may then send a million requests at once, a free one ten thousand

_PATIENCE: Final = 20  # runs of two seconds in which a busy machine must use the free tier's limit up

TABLE: Final = """
routes:
  - {path: /plain, upstream: chat, methods: {GET: {public: true, exempt: true}}}
  - {path: /policy, upstream: chat, methods: {GET: [chat:read]}}
"""

NGINX: Final = """
daemon off; master_process off; pid %(folder)s/pid; error_log %(folder)s/error.log;
events { worker_connections 1024; }
http {
  access_log off; keepalive_requests 10000000; client_body_temp_path %(folder)s/body; proxy_temp_path %(folder)s/proxy;
  fastcgi_temp_path %(folder)s/f; uwsgi_temp_path %(folder)s/u; scgi_temp_path %(folder)s/s;
  upstream backend { server 127.0.0.1:%(backend)d; keepalive 64; keepalive_requests 10000000; }
  server { listen 127.0.0.1:%(port)d; location / { %(location)s } }
}
"""
PROXY: Final = (
    'proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; '
    "proxy_set_header X-Forwarded-For $remote_addr;"
)


class _Auth(BaseHTTPRequestHandler):
    """Plays auth-service: the key set, and empty revocation feeds."""

    jwk: dict[str, str]

    def do_GET(self) -> None:
        keys = self.path == "/oauth2/jwks.json"
        body = orjson.dumps({"keys": [self.jwk]} if keys else {"entries": [], "next": "1"})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Log nothing."""


@dataclass
class Subject:
    """One thing under load: where, with which headers, and whose CPU counts."""

    name: str
    url: str
    pids: Sequence[int] = ()
    headers: Sequence[str] = ()
    rounds: list["Load"] = field(default_factory=list)

    def cpu_s(self) -> float:
        times = [psutil.Process(pid).cpu_times() for pid in self.pids]
        return sum(time.user + time.system for time in times)


@dataclass(frozen=True)
class Load:
    """What one run of wrk found."""

    requests_per_s: float
    cpu_us: float
    p50_ms: float
    p99_ms: float


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(core: str, command: Sequence[str], port: int, **environment: str) -> Iterator[int]:
    """A process pinned to a core, once it listens; its pid."""
    pinned = ["taskset", "-c", core] if shutil.which("taskset") else []
    process = subprocess.Popen(  # noqa: S603 - the commands are in this file
        [*pinned, *command], stdout=subprocess.DEVNULL, env={**os.environ, **environment}
    )
    try:
        _wait_until_listening(process, port)
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait_until_listening(process: "subprocess.Popen[bytes]", port: int) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"{process.args!r} does not listen on {port}")


@contextmanager
def nginx(core: str, folder: Path, location: str, backend: int = 1) -> Iterator[tuple[int, int]]:
    """An nginx with one location: (port, pid)."""
    port = free_port()
    folder.mkdir()
    (folder / "nginx.conf").write_text(
        NGINX % {"folder": folder, "port": port, "backend": backend, "location": location}, encoding="utf-8"
    )
    with running(core, ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], port) as pid:
        yield port, pid


@contextmanager
def auth_service(jwk: dict[str, str]) -> Iterator[str]:
    handler = type("Auth", (_Auth,), {"jwk": jwk, "protocol_version": "HTTP/1.1"})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def load(subject: Subject, seconds: int, *, failures_expected: bool = False) -> Load:
    """Put load on the subject. Exits if a request failed, unless failures are expected."""
    pinned = ["taskset", "-c", LOAD] if shutil.which("taskset") else []
    headers = [argument for header in subject.headers for argument in ("-H", header)]
    command = [*pinned, "wrk", "-t1", "-c32", f"-d{seconds}s", "--latency", *headers, subject.url]
    before = subject.cpu_s()
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout  # noqa: S603 - wrk
    used = subject.cpu_s() - before
    if not failures_expected and (failures := re.search(r"(Non-2xx.*|Socket errors.*)", shown)):
        raise SystemExit(f"{subject.name}: {failures[1]}; results with failed requests do not count")
    requests = int(_found(r"(\d+) requests in", shown))
    return Load(
        requests_per_s=float(_found(r"Requests/sec:\s+([\d.]+)", shown)),
        cpu_us=used * 1e6 / requests,
        p50_ms=_ms(_found(r"(?m)^\s+50%\s+(\S+)", shown)),
        p99_ms=_ms(_found(r"(?m)^\s+99%\s+(\S+)", shown)),
    )


def _found(pattern: str, text: str) -> str:
    if (found := re.search(pattern, text)) is None:
        raise SystemExit(f"unexpected output of wrk:\n{text}")
    return found[1]


def _ms(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()  # type: ignore[union-attr]  # wrk's own format
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[unit]


def status(url: str, header: str | None = None) -> int:
    """The status that one request is answered with."""
    host, _, path = url.removeprefix("http://").partition("/")
    connection = HTTPConnection(host, timeout=10)
    connection.request("GET", f"/{path}", headers={"Authorization": header} if header else {})
    reply = connection.getresponse()
    reply.read()
    connection.close()
    return reply.status


@dataclass(frozen=True)
class Gateway:
    """The gateway under test and what signs its callers in."""

    url: str
    pid: int
    people: People
    key: SigningKey

    def token(self, name: str, tier: str) -> str:
        principal = replace(self.people.principal(name, tier=tier, lifetime_s=3600), issuer=PUBLIC_URL)
        now = int(time.time())
        return "Bearer " + sign_access_token(
            principal.to_claims(), self.key, issuer=PUBLIC_URL, public_url=PUBLIC_URL, now=now
        )

    def check(self) -> None:
        """Exit unless the policies are active: a wrong token is 401, an exceeded limit 429."""
        wait_until_ready(self.url)
        free = self.token("free", "free")
        found = {"no token": status(f"{self.url}/policy"), "wrong token": status(f"{self.url}/policy", "Bearer x.y.z")}
        found["right token"] = status(f"{self.url}/policy", free)
        many = Subject("", f"{self.url}/policy", headers=[f"Authorization: {free}"])
        for _ in range(_PATIENCE):
            load(many, 2, failures_expected=True)
            if status(many.url, free) == 429:
                break
        found["limit used up"] = status(f"{self.url}/policy", free)
        expected = {"no token": 401, "wrong token": 401, "right token": 200, "limit used up": 429}
        if found != expected:
            raise SystemExit(f"the policies are not active: {found}, expected {expected}")


def wait_until_ready(url: str) -> None:
    until = time.monotonic() + 90
    while status(f"{url}/readyz") != 200:
        if time.monotonic() > until:
            raise SystemExit("the gateway did not become ready")
        time.sleep(0.1)


@contextmanager
def gateway(folder: Path, backend: int) -> Iterator[Gateway]:
    """The gateway with everything that its policy needs."""
    with ExitStack() as stack:
        people = People.made(folder, "gateway")
        key = people.keys["auth"]
        auth = stack.enter_context(auth_service(key.public_jwk))
        cache, port = free_port(), free_port()
        stack.enter_context(running(LOAD, [str(valkey_binary()), "--port", str(cache), "--save", ""], cache))
        (folder / "routes.yaml").write_text(TABLE, encoding="utf-8")
        environment = {
            "ENVIRONMENT": "testing",
            "SERVER__PORT": str(port),
            "ADMIN__PORT": str(free_port()),
            "PUBLIC_URL": PUBLIC_URL,
            "REDIS_URL": f"redis://127.0.0.1:{cache}",
            "ROUTES_FILE": str(folder / "routes.yaml"),
            "SERVICES__AUTH": auth,
            "SERVICES__USERS": auth,
            "SERVICES__CHAT": f"http://127.0.0.1:{backend}",
            "IDENTITY__KEY_FILE": str(people.key_file("gateway")),
            "IDENTITY__TRUST_FILE": str(people.trust_file),
            "IDENTITY__JWKS_URL": f"{auth}/oauth2/jwks.json",
            "REVOCATIONS__FEEDS": '["auth", "users"]',
            "LIMITS__SCALE": str(_SCALE),
            "LIMITS__ANONYMOUS": "1000",
        }
        command = [sys.executable, "-m", "gateway", "serve"]
        pid = stack.enter_context(running(UNDER_TEST, command, port, **environment))
        yield Gateway(f"http://127.0.0.1:{port}", pid, people, key)


def main(
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 5,
    seconds: Annotated[int, typer.Option(min=1, help="How long each time.")] = 3,
) -> None:
    """Measure, and print the median of the rounds."""
    for needed in ("nginx", "wrk"):
        if shutil.which(needed) is None:
            raise SystemExit(f"SKIPPED: {needed} is not installed (Debian: apt-get install {needed}); nothing measured")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        backend, _ = stack.enter_context(nginx(LOAD, folder / "backend", f'return 200 "{BODY}";'))
        proxy, proxy_pid = stack.enter_context(nginx(UNDER_TEST, folder / "nginx", PROXY, backend))
        ours = stack.enter_context(gateway(folder, backend))
        ours.check()
        subjects = [
            Subject("direct, no proxy", f"http://127.0.0.1:{backend}/policy"),
            Subject("nginx proxying", f"http://127.0.0.1:{proxy}/policy", [proxy_pid]),
            Subject("gateway, plain", f"{ours.url}/plain", [ours.pid]),
            Subject("gateway, full policy", f"{ours.url}/policy", [ours.pid]),
        ]
        for number in range(rounds):
            subjects[-1].headers = [f"Authorization: {ours.token(f'caller-{number}', 'enterprise')}"]
            for subject in subjects:
                subject.rounds.append(load(subject, seconds))
                typer.echo(f"round {number + 1}: {subject.name}: {subject.rounds[-1].requests_per_s:,.0f}/s")
        report(subjects)


def report(subjects: Sequence[Subject]) -> None:
    """Print the results and the ratios."""
    typer.echo(f"\n{'':24}{'CPU µs/request':>22}{'requests/s':>26}{'p50 ms':>9}{'p99 ms':>9}")
    for subject in subjects:
        cpu = _median([run.cpu_us for run in subject.rounds], "{:.0f}") if subject.pids else "-"
        rate = _median([run.requests_per_s for run in subject.rounds], "{:,.0f}")
        p50, p99 = (statistics.median(getattr(run, name) for run in subject.rounds) for name in ("p50_ms", "p99_ms"))
        typer.echo(f"{subject.name:24}{cpu:>22}{rate:>26}{p50:>9.2f}{p99:>9.2f}")
    nginx_us, plain_us, policy_us = (
        statistics.median(run.cpu_us for run in subject.rounds) for subject in subjects[1:]
    )
    typer.echo(f"\nfull policy costs {policy_us / nginx_us:.1f} x nginx proxying without any policy")
    typer.echo(f"full policy costs {policy_us / plain_us - 1:+.0%} over our own plain proxying")


def _median(figures: Sequence[float], form: str) -> str:
    low, middle, high = (form.format(figure) for figure in (min(figures), statistics.median(figures), max(figures)))
    return f"{middle} ({low}-{high})"


if __name__ == "__main__":
    typer.run(main)
