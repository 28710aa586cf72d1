"""The fleet as processes on this machine: the servers, then every service, kept alive until the block ends.

`make up` and the end-to-end tests run the same fleet; tests ask for free ports and replicas.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx2

from shared.dev.fleet import FleetService, fleet, processes
from shared.dev.identity import write_identity, write_private
from shared.dev.launcher import ports as fleet_ports
from shared.dev.launcher.backing_services import Backing, backing
from shared.dev.launcher.child_process import Child, Command
from shared.dev.launcher.data_folder import DataFolder, RunningFleet
from shared.dev.launcher.environment import Surroundings, dotenv
from shared.dev.launcher.forked_process import ForkServer
from shared.dev.launcher.logs import Screen
from shared.dev.launcher.starting import Interpreters, Starter
from shared.dev.servers.guard import Guard
from shared.dev.servers.server import HOST, free_port

SCHEMA: Final = ("db create", "migrate")
BINDINGS: Final = ("events declare",)
EARLY_DEATHS: Final = 3  # who dies this often before it was ever ready will not be


class LaunchFailed(Exception):
    """The fleet did not come up; the message says what failed and how it ended."""


@dataclass(frozen=True)
class Plan:
    """What is to run."""

    root: Path
    """The repository."""
    data: Path
    replicas: Mapping[str, int] = field(default_factory=dict)
    """How many of a process (`chat`, `gateway`, `worker`); one of each that is not listed."""
    without: frozenset[str] = frozenset()
    """Processes that somebody else starts, in a debugger: `chat`, `worker`."""
    ports: Mapping[str, int] = field(default_factory=dict)
    free_ports: bool = False
    real_limits: bool = False
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    """Where servers may be named: DATABASE_URL, REDIS_URL, AMQP_URL; BUS=valkey takes no RabbitMQ."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings for every process, over what the launcher decides."""
    fork: bool = sys.platform == "linux"
    """Whether processes are forks of one that has imported what they share; else each imports everything itself."""
    ready_s: float = 60.0


class Fleet:
    """A running fleet."""

    def __init__(
        self,
        plan: Plan,
        guard: Guard,
        starter: Starter,
        screen: Screen,
        around: Surroundings,
        chosen: Sequence[FleetService],
    ) -> None:
        self.plan, self.screen, self.around, self.chosen = plan, screen, around, chosen
        self.children: dict[str, Child] = {}
        """Every process by name: `gateway`, `chat`, `chat-2`, `worker`, `mail` …"""
        self._guard, self.starter = guard, starter
        self.services = fleet(plan.root)

    @property
    def gateway_urls(self) -> list[str]:
        """One for each gateway."""
        return [child.command.url or "" for name, child in self.children.items() if process_of(name) == "gateway"]

    @property
    def mails(self) -> bool:
        """Whether one of the services sends mail, so that there is a mail catcher."""
        return any(service.mail for service in self.chosen)

    @property
    def mail_url(self) -> str:
        return f"http://{HOST}:{self.around.ports['mail']}"

    @property
    def backing(self) -> Backing:
        return self.around.backing

    def announcement(self) -> RunningFleet:
        """What other commands on this machine may know."""
        whole = not self.around.alone
        return RunningFleet(
            pid=os.getpid(),
            gateway_url=self.around.public_url if whole else "",
            mail_url=self.mail_url if self.mails else "",
            ports=dict(self.around.ports),
            public_url=self.around.public_url,
            without=sorted(self.plan.without),
            alone="" if whole else self.chosen[0].name,
        )

    async def prepare(self) -> None:
        """Database and schema of each service as soon as PostgreSQL answers, then its bindings on the bus."""
        names = [service.name for service in self.chosen if service.database]
        await self.backing.started("postgres")
        await asyncio.gather(*(self.command(name, *SCHEMA) for name in names))
        await self.backing.started()
        await asyncio.gather(*(self.command(name, *BINDINGS) for name in names))

    async def command(self, name: str, *verbs: str) -> None:
        """Run verbs of a service's command line, one after the other. Raises LaunchFailed with what they printed."""
        service = self.services[name]
        owner = {"DATABASE_OWNER_URL": self.backing.database_owner_url, "LOG__FORMAT": "console", **self.plan.settings}
        environment = self.around.environment(service, service.port, **owner)
        process = await self.starter.start(service.package, verbs, self._guard.environment(environment))
        self._guard.watch(process.pid)
        output = await process.stdout.read() if process.stdout else b""
        code = await process.wait()
        self._guard.forget(process.pid)
        if code != 0:
            raise LaunchFailed(f"A command of {name} failed:\n{output.decode(errors='replace')}")

    def start(self) -> None:
        """Start the processes of the services, and the mail catcher if one of them sends mail."""
        if self.mails:
            self._start_mail()
        for name, (service, verb) in processes(self.chosen).items():
            path = self._write_environment(name, service, verb)
            if name in self.plan.without:
                self.screen.say(
                    f"{name} is left out. Start it with make run-{name}, or in a debugger: "
                    f"python -m {service.package} {verb}, with the environment in {path}"
                )
                continue
            for number in range(1, self.plan.replicas.get(name, 1) + 1):
                if verb == "serve":
                    self._start_serving(service, number)
                else:
                    self._start_working(_numbered(name, number), service, verb)

    def _start_serving(self, service: FleetService, number: int) -> None:
        """The first one has the service's port; every gateway has all replicas before it."""
        port = self.around.ports[service.name] if number == 1 else free_port()
        more = {} if service.admin_port is None or number == 1 else {"ADMIN__PORT": str(free_port())}
        if service.name == "gateway":
            more |= self._replicas()
        url = f"http://{HOST}:{port}"
        self._start_child(_numbered(service.name, number), service, "serve", port, url, **more)

    def _start_working(self, name: str, service: FleetService, verb: str) -> None:
        """A process that serves nobody but who asks for its health."""
        port = free_port()
        more = {f"{verb.upper()}__PORT": str(port)}
        self._start_child(name, service, verb, port, f"http://{HOST}:{port}", **more)

    def _replicas(self) -> dict[str, str]:
        """Where each service is that has several replicas; the gateways start last."""
        urls: dict[str, list[str]] = {}
        for name, child in self.children.items():
            if self.plan.replicas.get(process_of(name), 1) > 1 and child.command.url:
                urls.setdefault(process_of(name), []).append(child.command.url)
        services = urls.keys() & self.services.keys() - {"gateway"}
        return {f"UPSTREAMS__{name.upper()}": json.dumps(urls[name]) for name in services}

    def _start_child(self, name: str, service: FleetService, verb: str, port: int, url: str, **more: str) -> None:
        environment = {**self.around.environment(service, port), **more, **self.plan.settings}
        self._start_command(Command(name, service.package, verb, environment, url))

    def _start_mail(self) -> None:
        ports = f"{self.around.ports['smtp']} {self.around.ports['mail']}"
        self._start_command(Command("mail", "shared.dev.servers.mail", ports, dict(os.environ), self.mail_url))

    def _start_command(self, command: Command) -> None:
        child = Child(command, self.starter, self._guard, self.screen, self.around.folder.logs)
        self.children[command.name] = child

    def _write_environment(self, name: str, service: FleetService, verb: str) -> Path:
        """Write what a process runs with, for a debugger and for `make command-…`; the file's path."""
        settings = self.around.settings(service, self.around.ports[service.name]) | {"LOG__FORMAT": "console"}
        if verb != "serve":
            settings[f"{verb.upper()}__PORT"] = str(free_port())
        path = self.around.folder.environment_file(name)
        write_private(path, dotenv(settings))
        return path

    async def ready(self) -> None:
        """Wait until every process is ready, or only live if it waits for one that is left out. Raises LaunchFailed."""
        waits = self.waiting()
        async with httpx2.AsyncClient(timeout=2, trust_env=False) as client:
            checks = [
                self._answers(client, child, "/livez" if name in waits else "/readyz")
                for name, child in self.children.items()
                if child.command.url
            ]
            await asyncio.gather(*checks)

    def waiting(self) -> set[str]:
        """The processes that are not ready without the services that are left out: they read feeds or keys there."""
        if self.around.alone:
            return set()
        absent = [service for service in self.chosen if service.name in self.plan.without]
        keys_absent = any(service.jwks for service in absent)
        followers = {
            process
            for process, (service, _) in processes(self.chosen).items()
            if keys_absent or any(other.name in service.follows for other in absent)
        }
        return {name for name in self.children if process_of(name) in followers}

    async def _answers(self, client: httpx2.AsyncClient, child: Child, path: str) -> None:
        until = asyncio.get_running_loop().time() + self.plan.ready_s
        said = "no response"
        while True:
            try:
                reply = await client.get(f"{child.command.url}{path}")
            except httpx2.TransportError:
                reply = None
            if reply is not None and reply.status_code == 200:
                return
            said = said if reply is None else reply.text
            if child.restarts > EARLY_DEATHS or asyncio.get_running_loop().time() > until:
                raise LaunchFailed(
                    f"{child.name} did not become ready ({said}). Its last log lines:\n{child.last_lines}"
                )
            await asyncio.sleep(0.05)

    async def restart(self, names: Iterable[str]) -> None:
        """Restart the processes of these services or verbs (`chat` means each chat replica)."""
        wanted = set(names)
        await asyncio.gather(*(child.restart() for name, child in self.children.items() if process_of(name) in wanted))

    async def stop(self) -> None:
        """End every process; the gateways first, so that nobody new comes in."""
        gateways = [child for name, child in self.children.items() if process_of(name) == "gateway"]
        await asyncio.gather(*(child.stop() for child in gateways))
        await asyncio.gather(*(child.stop() for child in self.children.values() if child not in gateways))


@asynccontextmanager
async def running_fleet(plan: Plan, screen: Screen, *, only: str | None = None) -> AsyncIterator[Fleet]:
    """The whole fleet, ready; or `only` one service with what it needs. All of it ends with the block, or its holder.

    Raises AlreadyRuns, PortTaken, BinaryMissing, ServerFailed or LaunchFailed.
    """
    services = fleet(plan.root)
    check_replicas(plan.replicas, services.values())
    chosen = [service for name, service in services.items() if only in (None, name)]
    folder = DataFolder(plan.data)
    async with AsyncExitStack() as stack:
        lock = stack.enter_context(folder.held())
        ports = fleet_ports.chosen_ports(services.values(), free=plan.free_ports, chosen=plan.ports)
        fleet_ports.check_free(fleet_ports.needed(ports, chosen, plan.without))
        write_identity(folder.keys, services)
        guard = Guard()
        stack.push_async_callback(asyncio.to_thread, guard.close)
        began = time.monotonic()
        starter = ForkServer(guard, plan.root) if plan.fork else Interpreters(plan.root)
        stack.push_async_callback(starter.close)
        screen.say("Starting the servers …")
        servers = await stack.enter_async_context(backing(folder, guard, plan.environment))
        screen.say(f"{', '.join(servers.described)}. Migrating the databases …")
        gateways = plan.replicas.get("gateway", 1)
        around = Surroundings(
            folder, servers, ports, services.values(), gateways, plan.real_limits, alone=only is not None
        )
        run = Fleet(plan, guard, starter, screen, around, chosen)
        watch = asyncio.create_task(servers.tell_of_the_dead(screen.say))
        stack.callback(watch.cancel)
        await run.prepare()
        screen.say("Starting the services …")
        stack.push_async_callback(run.stop)
        run.start()
        if plan.without:
            lock.announce(run.announcement())  # the others may wait for it, so it must be able to join now
        await run.ready()
        word = "Started" if run.waiting() else "Ready"
        screen.say(f"{word} after {time.monotonic() - began:.1f} s")
        lock.announce(run.announcement())
        yield run


def check_replicas(replicas: Mapping[str, int], services: Iterable[FleetService]) -> None:
    """Raises LaunchFailed where there is no such process, or less than one of it is asked for."""
    known = processes(services)
    for name, number in replicas.items():
        if name not in known or number < 1:
            raise LaunchFailed(
                f"REPLICAS={name}={number} is not possible: name one of {', '.join(sorted(known))}, and 1 or more."
            )


def process_of(name: str) -> str:
    """`chat-2` is a `chat`."""
    process, _, number = name.rpartition("-")
    return process if process and number.isdigit() else name


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"
