"""The gateway's cost per request, compared in one run with a direct request and with nginx as the proxy.

    .venv/bin/python gateway/bench/proxy.py [--rounds 5] [--seconds 3]

A backend responds with 300 bytes. Each round puts the same load (wrk, 32 connections) on the backend itself, on nginx
in front of it, on the gateway as a plain proxy (a public route without a limit), and on the gateway with all policies:
token, revocations, tenant, exact limit in Valkey, scopes, log line. The subject has one core for itself; load and
backend share the other. Results: CPU time of its processes per request and requests per second, as median and range.
"""

import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Final

import orjson
import typer

from shared.dev.bench import (
    LOAD,
    UNDER_TEST,
    Subject,
    calibration_s,
    load,
    measure,
    request,
    running,
    skip_without,
    wait_until_ready,
)
from shared.dev.servers.binaries import valkey_binary
from shared.dev.servers.server import free_port
from shared.identity.access_tokens import sign_access_token
from shared.identity.keys import SigningKey
from shared.testing.people import People

PUBLIC_URL: Final = "http://localhost:8000"
BODY: Final = "x" * 300
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


def status(url: str, token: str | None = None) -> int:
    """The status that one request is answered with."""
    return request(url, **({"Authorization": token} if token else {}))[0]


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
            principal.to_claims(), self.key, issuer=PUBLIC_URL, audience=PUBLIC_URL, now=now
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
    skip_without("nginx", "wrk")
    typer.echo(f"calibration loop: {calibration_s():.2f} s of CPU")
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
        for number in measure(subjects, rounds, seconds):
            subjects[-1].headers = [f"Authorization: {ours.token(f'caller-{number}', 'enterprise')}"]
        report(subjects)


def report(subjects: Sequence[Subject]) -> None:
    """Print the results and the ratios."""
    typer.echo(f"\n{'':24}{'CPU µs/request':>22}{'requests/s':>26}{'p50 ms':>9}{'p99 ms':>9}")
    for subject in subjects:
        cpu, rate = subject.spread("cpu_us") if subject.pids else "-", subject.spread("requests_per_s")
        p50, p99 = subject.median("p50_ms"), subject.median("p99_ms")
        typer.echo(f"{subject.name:24}{cpu:>22}{rate:>26}{p50:>9.2f}{p99:>9.2f}")
    nginx_us, plain_us, policy_us = (subject.median("cpu_us") for subject in subjects[1:])
    typer.echo(f"\nfull policy costs {policy_us / nginx_us:.1f} x nginx proxying without any policy")
    typer.echo(f"full policy costs {policy_us / plain_us - 1:+.0%} over our own plain proxying")


if __name__ == "__main__":
    typer.run(main)
