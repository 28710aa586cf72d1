"""The cost of tokens, compared in one run with npm oidc-provider: refresh, client credentials, introspection.

    .venv/bin/python auth-service/bench/auth.py [--rounds 5] [--seconds 3]

auth-service has PostgreSQL with fsync, so every rotation is durable; oidc-provider (one Node process) keeps all in
memory. Each process under test has one core; wrk (8 connections) and PostgreSQL share the other. A refresh is rotated
every time: each answer's refresh token is the next request's. Results: CPU time (user and system) of the process and of
PostgreSQL per request. `NODE_MODULES` names the folder with oidc-provider (default: ./node_modules).
"""

import asyncio
import json
import os
import sys
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from secrets import token_urlsafe
from subprocess import run
from typing import Annotated, Any, Final

import psutil
import typer
from sqlalchemy import func, select

from auth_service.accounts.models import ACTIVE, Account
from auth_service.clients.models import Client
from auth_service.clients.service import digest
from auth_service.keyring import Keyring, generate_root
from auth_service.memberships.models import Membership, Tenant
from auth_service.sessions.models import CLIENT_ID, Session
from auth_service.sessions.refresh_tokens import RefreshToken
from auth_service.settings import AuthSettings
from shared.data.database import Database
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
from shared.ids import new_id
from shared.testing.people import People

SESSIONS: Final = 64
CONNECTIONS: Final = 8
LOGIN: Final = "flotilla_bench"
SECRET: Final = token_urlsafe(32)
FORM: Final = "application/x-www-form-urlencoded"
REFRESH: Final = '{"refresh_token":"%s"}'
PEER: Final = Path(__file__).with_name("oidc_provider.mjs")

WORK: Final = {"refresh": (0.25, 0.5), "client credentials": (0.5, 1.0), "introspection": (0.5, 1.0)}
"""What is measured, with the target and the goal: our throughput per CPU, as a share of the peer's."""

LUA: Final = """
local tokens, first, last = {%(tokens)s}, 1, %(count)d
wrk.method, wrk.headers["Content-Type"] = "POST", "%(media_type)s"
request = function()
  local token = tokens[first]
  first = first + 1
  return wrk.format(nil, nil, nil, string.format('%(body)s', token))
end
response = function(status, headers, body)
  last = last + 1
  tokens[last] = string.match(body, '"refresh_token": ?"([^"]+)"')
end
"""
"""Each request shows a token that no other one has; its answer brings the next."""


@dataclass(frozen=True)
class Ours:
    """auth-service with a person, their sessions and a client in its database."""

    folder: Path
    people: People
    admin_url: str
    root: str

    def environment(self, port: int) -> dict[str, str]:
        return {
            "ENVIRONMENT": "testing",
            "SERVER__PORT": str(port),
            "DATABASE_URL": self.admin_url.replace("postgres:", f"{LOGIN}:", 1),
            "DATABASE_OWNER_URL": self.admin_url,
            "IDENTITY__KEY_FILE": str(self.people.key_file("auth")),
            "IDENTITY__TRUST_FILE": str(self.people.trust_file),
            "KEYS__ENCRYPTION_KEY": self.root,
            "SERVICES__USERS": "http://127.0.0.1:9",
            "REVOCATIONS__FEEDS": "[]",
        }

    @contextmanager
    def serving(self) -> Iterator[tuple[str, int]]:
        """The service, ready: (URL, pid)."""
        port = free_port()
        command = [sys.executable, "-m", "auth_service", "serve", "--no-events"]
        with running(UNDER_TEST, command, port, **self.environment(port)) as pid:
            url = f"http://127.0.0.1:{port}"
            wait_until_ready(url)
            yield url, pid

    def fill(self) -> str:
        """Create the database and what is measured on; the client's id."""
        for verb in (["db", "create"], ["migrate"]):
            run([sys.executable, "-m", "auth_service", *verb], env=os.environ | self.environment(1), check=True)  # noqa: S603 - ours
        os.environ.update(self.environment(1))
        return asyncio.run(self._rows())

    async def _rows(self) -> str:
        settings = AuthSettings(_env_file=None)
        database = Database(settings)
        tenant = Tenant(id=new_id(), slug="acme", name="Acme", tier="free", status=ACTIVE, version=1)
        account = Account(
            id=new_id(), username="ann", email="ann@example.com", password_hash=generate_root(), status=ACTIVE, epoch=0
        )
        client = Client(
            id=new_id(),
            tenant_id=tenant.id,
            name="Bench",
            auth_method="client_secret_basic",
            secret_digest=digest(SECRET),
            redirect_uris=[],
            post_logout_redirect_uris=[],
            grant_types=["client_credentials"],
            scopes=["jobs:read"],
            roles=["user"],
            resources=[],
        )
        sessions = [
            Session(id=new_id(), account_id=account.id, tenant_id=tenant.id, client_id=CLIENT_ID)
            for _ in range(SESSIONS)
        ]
        async with database.transaction(tenant.id) as db:
            db.add_all([tenant, account, client])
            await db.flush()
            confirmed = func.now() + timedelta(days=1)  # users-service is not asked: it is not part of the work
            db.add(
                Membership(
                    tenant_id=tenant.id,
                    user_id=account.id,
                    id=new_id(),
                    roles=["user"],
                    status=ACTIVE,
                    version=1,
                    checked_at=confirmed,
                )
            )
            db.add_all(sessions)
        await database.close()
        return str(client.id)


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """PostgreSQL with fsync, on the load's core."""
    with closing(Guard()) as guard:
        server = Postgres(folder, guard, postgres_binaries(), password=token_urlsafe(12), durable=True)
        asyncio.run(server.start())
        try:
            if server.process is not None and hasattr(psutil.Process, "cpu_affinity"):
                psutil.Process(server.process.pid).cpu_affinity([int(LOAD)])
            yield server
        finally:
            asyncio.run(server.stop())


@contextmanager
def peer(modules: Path) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """oidc-provider: (URL, pid, its tokens)."""
    port = free_port()
    environment = {"PORT": str(port), "SESSIONS": str(SESSIONS), "MODULES": str(modules), "NODE_ENV": "production"}
    with running(UNDER_TEST, ["node", str(PEER)], port, **environment) as pid:
        url = f"http://127.0.0.1:{port}"
        yield url, pid, json.loads(request(f"{url}/bench")[1])


def basic(user: str, secret: str) -> str:
    return "Authorization: Basic " + b64encode(f"{user}:{secret}".encode()).decode()


def posting(script: Path, body: str, tokens: Sequence[str] = (), media_type: str = FORM) -> str:
    """A script for wrk that posts `body`; with `tokens`, each request has one that no other has, in the place of %s."""
    if tokens:
        listed = ", ".join(f'"{token}"' for token in tokens)
        lua = LUA % {"tokens": listed, "count": len(tokens), "media_type": media_type, "body": body}
    else:
        lua = f'wrk.method, wrk.headers["Content-Type"], wrk.body = "POST", "{media_type}", "{body}"'
    script.write_text(lua, encoding="utf-8")
    return str(script)


def issued(url: str, authorization: str) -> str:
    """An access token by client credentials. Exits unless a wrong secret is refused."""
    headers = {"Content-Type": FORM, "Authorization": authorization.partition(": ")[2]}
    wrong = headers | {"Authorization": basic("wrong", "wrong").partition(": ")[2]}
    if request(url, "POST", "grant_type=client_credentials", **wrong)[0] not in (400, 401):
        raise SystemExit(f"{url} accepts a wrong secret")
    return str(json.loads(request(url, "POST", "grant_type=client_credentials", **headers)[1])["access_token"])


def main(
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 5,
    seconds: Annotated[int, typer.Option(min=1, help="How long each time.")] = 3,
) -> None:
    """Measure, and print the median of the rounds."""
    skip_without("wrk", "node")
    modules = Path(os.environ.get("NODE_MODULES", "node_modules")).absolute()
    if not (modules / "oidc-provider").is_dir():
        raise SystemExit(f"SKIPPED: {modules} has no oidc-provider (npm install oidc-provider@9); nothing measured")
    typer.echo(f"calibration loop: {calibration_s():.2f} s of CPU")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        server = stack.enter_context(postgres(folder / "postgres"))
        ours = Ours(folder, People.made(folder, "auth"), server.url, generate_root())
        client_id = ours.fill()
        url, pid = stack.enter_context(ours.serving())
        peer_url, peer_pid, made = stack.enter_context(peer(modules))
        mine, theirs = basic(client_id, SECRET), basic("bench", "secret")
        behind: Any = {"backend_pids": [server.process.pid] if server.process else [], "connections": CONNECTIONS}
        alone: Any = {"connections": CONNECTIONS}
        refresh_form = "grant_type=refresh_token&refresh_token=%s"
        credentials = posting(folder / "credentials.lua", "grant_type=client_credentials")
        access = issued(f"{url}/oauth2/token", mine)
        issued(f"{peer_url}/token", theirs)
        mine_shown = posting(folder / "o.lua", f"token={access}")
        theirs_shown = posting(folder / "p.lua", f"token={made['opaque']}")

        pairs = {
            "refresh": (
                Subject("", f"{url}/auth/refresh", [pid], script=str(folder / "ours.lua"), **behind),
                Subject("", f"{peer_url}/token", [peer_pid], [theirs], script=str(folder / "theirs.lua"), **alone),
            ),
            "client credentials": (
                Subject("", f"{url}/oauth2/token", [pid], [mine], script=credentials, **behind),
                Subject("", f"{peer_url}/token", [peer_pid], [theirs], script=credentials, **alone),
            ),
            "introspection": (
                Subject("", f"{url}/oauth2/introspect", [pid], [mine], script=mine_shown, **behind),
                Subject("", f"{peer_url}/token/introspection", [peer_pid], [theirs], script=theirs_shown, **alone),
            ),
        }
        for work, pair in pairs.items():
            for subject, who in zip(pair, ("auth-service", "oidc-provider"), strict=True):
                subject.name = f"{work}, {who}"
        for _ in measure([subject for pair in pairs.values() for subject in pair], rounds, seconds):
            posting(folder / "theirs.lua", refresh_form, json.loads(request(f"{peer_url}/bench")[1])["refresh"])
            posting(folder / "ours.lua", REFRESH, asyncio.run(current_tokens()), "application/json")
        report(pairs)


async def current_tokens() -> list[str]:
    """The sessions' refresh tokens now: a round ends in the middle of some refreshes."""
    settings = AuthSettings(_env_file=None)
    database, keyring = Database(settings), Keyring.load(settings.keys)
    async with database.transaction() as db:
        rows = (await db.execute(select(Session.id, Session.generation))).all()
    await database.close()
    return [RefreshToken(family, generation).encode(keyring) for family, generation in rows]


def report(pairs: dict[str, tuple[Subject, Subject]]) -> None:
    """Print the results, and the ratios round by round."""
    typer.echo(f"\n{'':36}{'CPU µs/request':>22}{'PostgreSQL µs':>18}{'requests/s':>22}{'p50 ms':>8}{'p99 ms':>8}")
    for subject in (subject for pair in pairs.values() for subject in pair):
        figures = (
            f"{subject.spread('cpu_us'):>22}{subject.spread('backend_us'):>18}{subject.spread('requests_per_s'):>22}"
        )
        typer.echo(f"{subject.name:36}{figures}{subject.median('p50_ms'):>8.1f}{subject.median('p99_ms'):>8.1f}")
    typer.echo("")
    for work, (ours, theirs) in pairs.items():
        rounds = list(zip(ours.rounds, theirs.rounds, strict=True))
        service = spread([other.cpu_us / one.cpu_us for one, other in rounds], "{:.2f}")
        both = spread([other.cpu_us / (one.cpu_us + one.backend_us) for one, other in rounds], "{:.2f}")
        target, goal = WORK[work]
        typer.echo(f"{work}: {service} x oidc-provider per CPU; with PostgreSQL {both} (target {target}, goal {goal})")


if __name__ == "__main__":
    typer.run(main)
