"""The cost of a request at a service, compared in one run with a bare FastAPI route that makes the same SELECT.

    .venv/bin/python shared/bench/service.py [--rounds 5] [--seconds 3]

`GET /api/v1/profile` at users-service, called as the gateway calls it (internal token, request id, traceparent,
deadline), reads one row under row-level security. Its peer (bare_service.py) reads the same row by the same SELECT from
the same PostgreSQL, with the same pool size, loop and HTTP parser, and does nothing else. Each has one process on one
core; wrk (8 connections) and PostgreSQL share the other. Results: CPU time (user and system) of the process and of
PostgreSQL per request, requests per second, as median and range, and what goes over the wire to PostgreSQL.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe
from subprocess import run
from typing import Annotated, Any, Final

import asyncpg
import psutil
import typer
from sqlalchemy.engine import make_url

from shared import deadline
from shared.data.roles import database_name, role_name
from shared.dev.bench import (
    LOAD,
    UNDER_TEST,
    Subject,
    calibration_s,
    measure,
    request,
    running,
    skip_without,
    spread,
    wait_until_ready,
)
from shared.dev.servers.binaries import postgres_binaries
from shared.dev.servers.guard import Guard
from shared.dev.servers.postgres import Postgres
from shared.dev.servers.server import free_port
from shared.identity.tokens import INTERNAL_TTL_S
from shared.testing.people import People
from shared.testing.postgres_wire import Wire, counted

TARGET: Final = 2.0
POOL_SIZE: Final = "10"
CONNECTIONS: Final = 8  # fewer than the pool has: waiting for one would be part of the figures
LOGIN: Final = "flotilla_bench"
PATH: Final = "/api/v1/profile"
PROFILE: Final = {"full_name": "Ann Lee", "bio": "Sails.", "phone": "+4930901820", "locale": "en"}
_COUNTED: Final = 20
"""As many requests before the wire is counted: by then the statement is prepared."""


@dataclass(frozen=True)
class World:
    """The database, the people in it, and how both processes are started."""

    folder: Path
    people: People
    admin_url: str

    @property
    def login_url(self) -> str:
        return _url(self.admin_url, username=LOGIN)

    @contextmanager
    def service(self, login_url: str | None = None) -> Iterator[tuple[str, int]]:
        """users-service, ready: (URL, pid)."""
        port = free_port()
        environment = {
            "ENVIRONMENT": "testing",
            "SERVER__PORT": str(port),
            "DATABASE_URL": login_url or self.login_url,
            "DATABASE__POOL_SIZE": POOL_SIZE,
            "IDENTITY__KEY_FILE": str(self.people.key_file("users")),
            "IDENTITY__TRUST_FILE": str(self.people.trust_file),
            "STORAGE_URL": (self.folder / "files").as_uri(),
        }
        command = [sys.executable, "-m", "users_service", "serve", "--no-events"]
        with running(UNDER_TEST, command, port, **environment) as pid:
            url = f"http://127.0.0.1:{port}"
            wait_until_ready(url)
            yield url, pid

    @contextmanager
    def bare(self, admin_url: str | None = None) -> Iterator[tuple[str, int]]:
        """The bare route: (URL, pid)."""
        port = free_port()
        database = _url(admin_url or self.admin_url, drivername="postgresql+asyncpg", database=database_name("users"))
        command = [sys.executable, str(Path(__file__).with_name("bare_service.py"))]
        environment = {"DATABASE_URL": database, "POOL_SIZE": POOL_SIZE, "PORT": str(port)}
        with running(UNDER_TEST, command, port, **environment) as pid:
            yield f"http://127.0.0.1:{port}", pid

    @property
    def bare_path(self) -> str:
        return f"/tenants/{self.people.tenant_id('acme')}/profiles/{self.people.id('ann')}"

    def headers(self, name: str = "ann", tenant: str = "acme") -> dict[str, str]:
        """What the gateway sends along with a person's request, valid for a minute."""
        return self.people(name, tenant=tenant) | {
            "X-Request-ID": "01890a5d-ac96-774b-bcce-b302099a8057",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "X-Forwarded-For": "203.0.113.7",
            "X-Forwarded-Proto": "https",
            deadline.HEADER: deadline.header(INTERNAL_TTL_S),
        }

    def fill(self) -> None:
        """Create and migrate the database, and register ann in acme and gil in globex."""
        environment = {
            "ENVIRONMENT": "testing",
            "DATABASE_URL": self.login_url,
            "DATABASE_OWNER_URL": self.admin_url,
        }
        for verb in (["db", "create"], ["migrate"]):
            run([sys.executable, "-m", "users_service", *verb], env=environment, check=True)  # noqa: S603 - ours
        with self.service() as (url, _):
            for name, tenant in (("ann", "acme"), ("gil", "globex")):
                new = {"id": str(self.people.tenant_id(tenant)), "name": tenant.title(), "slug": tenant}
                registration = f"{url}/internal/registrations/{self.people.id(name)}"
                self._put(registration, {"username": name, "tenant": new}, self.people.service("auth"))
                self._put(f"{url}{PATH}", PROFILE, self.headers(name, tenant))

    @staticmethod
    def _put(url: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        status, answer = request(url, "PUT", json.dumps(body), **headers, **{"Content-Type": "application/json"})
        if status != 200:
            raise SystemExit(f"PUT {url}: {status} {answer.decode()}")

    def check(self, service_url: str, bare_url: str) -> None:
        """Exit unless both give the same answer, a wrong token is 401, and no other tenant's row is visible."""
        url = f"{service_url}{PATH}"
        ours, bare = request(url, **self.headers()), request(bare_url + self.bare_path)
        same = json.loads(ours[1]) == json.loads(bare[1])
        found = {
            "right token, same answer as the bare route": (ours[0], bare[0], same),
            "wrong token": request(url, **self.headers() | {"Authorization": "Bearer x.y.z"})[0],
            "another tenant": request(url, **self.headers(tenant="globex"))[0],
            "rows without a tenant, and in acme": asyncio.run(self._visible()),
        }
        if list(found.values()) != [(200, 200, True), 401, 404, (0, 1)]:
            raise SystemExit(f"the answers are not the expected ones: {found}")

    async def _visible(self) -> tuple[int, int]:
        """How many of both tenants' profiles the application's role sees without a tenant, and as acme."""
        role = {"role": role_name("users", "app")}
        database = database_name("users")
        connection = await asyncpg.connect(_url(self.login_url, database=database), server_settings=role)
        without: int = await connection.fetchval("SELECT count(*) FROM profiles")
        await connection.execute("SELECT set_config('app.tenant_id', $1, false)", str(self.people.tenant_id("acme")))
        inside: int = await connection.fetchval("SELECT count(*) FROM profiles")
        await connection.close()
        return without, inside


def _url(url: str, **parts: str) -> str:
    return make_url(url).set(**parts).render_as_string(hide_password=False)  # type: ignore[arg-type]  # texts alone


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """PostgreSQL on the load's core; its backends inherit that."""
    with closing(Guard()) as guard:
        server = Postgres(folder, guard, postgres_binaries(), password=token_urlsafe(12), durable=False)
        asyncio.run(server.start())
        try:
            if server.process is not None and hasattr(psutil.Process, "cpu_affinity"):  # macOS pins nothing
                psutil.Process(server.process.pid).cpu_affinity([int(LOAD)])
            yield server
        finally:
            asyncio.run(server.stop())


async def wire_of(world: World, name: str) -> str:
    """What one request of the warm subject sends to PostgreSQL."""
    async with counted(world.admin_url if name == "bare" else world.login_url) as (wire, url):
        await asyncio.to_thread(_requested, world, name, url, wire)
        simple = sum(len(query.rstrip(";\0").split(";")) for query in wire.queries)
        trips, statements = (round(sent / _COUNTED) for sent in (wire.round_trips, simple + wire.executions))
        return f"{trips} round trips, {statements} statements"


def _requested(world: World, name: str, url: str, wire: Wire) -> None:
    with world.bare(url) if name == "bare" else world.service(url) as (base_url, _):
        path, headers = (world.bare_path, {}) if name == "bare" else (PATH, world.headers())
        for _ in range(_COUNTED):
            request(f"{base_url}{path}", **headers)
        wire.clear()
        for _ in range(_COUNTED):
            request(f"{base_url}{path}", **headers)


def main(
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 5,
    seconds: Annotated[int, typer.Option(min=1, help="How long each time.")] = 3,
) -> None:
    """Measure, and print the median of the rounds."""
    skip_without("wrk")
    typer.echo(f"calibration loop: {calibration_s():.2f} s of CPU")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        server = stack.enter_context(postgres(folder / "postgres"))
        world = World(folder, People.made(folder, "users"), server.url)
        world.fill()
        wires = {name: asyncio.run(wire_of(world, name)) for name in ("service", "bare")}
        service_url, service_pid = stack.enter_context(world.service())
        bare_url, bare_pid = stack.enter_context(world.bare())
        world.check(service_url, bare_url)
        behind: Any = {"backend_pids": [server.process.pid] if server.process else [], "connections": CONNECTIONS}
        subjects = [
            Subject("bare route", bare_url + world.bare_path, [bare_pid], **behind),
            Subject("users-service", service_url + PATH, [service_pid], **behind),
        ]
        for _ in measure(subjects, rounds, seconds):
            subjects[-1].headers = [f"{name}: {value}" for name, value in world.headers().items()]
        world.check(service_url, bare_url)
        report(subjects, wires)


def report(subjects: Sequence[Subject], wires: Mapping[str, str]) -> None:
    """Print the results and the ratio, round by round."""
    typer.echo(f"\n{'':16}{'CPU µs/request':>24}{'PostgreSQL µs':>20}{'requests/s':>22}{'p50 ms':>9}{'p99 ms':>9}")
    for subject in subjects:
        figures = (
            f"{subject.spread('cpu_us'):>24}{subject.spread('backend_us'):>20}{subject.spread('requests_per_s'):>22}"
        )
        typer.echo(f"{subject.name:16}{figures}{subject.median('p50_ms'):>9.1f}{subject.median('p99_ms'):>9.1f}")
    bare, ours = subjects
    ratios = [one.cpu_us / other.cpu_us for one, other in zip(ours.rounds, bare.rounds, strict=True)]
    typer.echo(f"\nto PostgreSQL: {wires['service']}; bare: {wires['bare']}")
    typer.echo(f"a request at the service costs {spread(ratios, '{:.2f}')} x the bare route (target {TARGET:g})")


if __name__ == "__main__":
    typer.run(main)
