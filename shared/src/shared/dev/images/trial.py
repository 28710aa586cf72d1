"""The images, run as production would run them: non-root, without capabilities, on a root that cannot be written."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx2

from shared.dev.fleet import FleetService, service_urls
from shared.dev.images.engine import Engine
from shared.dev.launcher.backing_services import Backing
from shared.dev.servers.server import HOST

READY_S: Final = 90.0
_INSIDE: Final = "/run/secrets"
_LOOK: Final = """\
import os
try:
    open("/probe", "w")
except OSError:
    print(os.stat("/proc/1").st_uid, "read-only")
else:
    print(os.stat("/proc/1").st_uid, "writable")
"""


class ImageFaulty(Exception):
    """An image was built and does not run as it should."""


@dataclass(frozen=True)
class Process:
    """One process of the fleet, in a container of its own."""

    service: FleetService
    verb: str
    port: int

    @property
    def name(self) -> str:
        return self.service.name if self.verb == "serve" else self.verb


def image_of(service: FleetService) -> str:
    """The name that compose.yaml, skaffold.yaml and the manifests use too."""
    return f"{service.image}:dev"


@dataclass(frozen=True)
class Trial:
    """One run of all images together, against servers on this host."""

    engine: Engine
    backing: Backing
    services: Collection[FleetService]
    keys: Path
    ports: Mapping[str, int]
    """Where each process listens, by its name."""
    run_id: str = field(default_factory=lambda: secrets.token_hex(4))

    async def prepare(self, service: FleetService) -> None:
        """Database, schema and bindings, made by the image itself."""
        owner = {"DATABASE_OWNER_URL": self.backing.database_owner_url}
        for verb in (("db", "create"), ("migrate",), ("events", "declare")):
            options = self._options(service, self._settings(service) | owner)
            await self.engine.do("run", "--rm", *options, image_of(service), *verb, timeout_s=120)

    @asynccontextmanager
    async def running(self, process: Process) -> AsyncIterator[str]:
        """The container's name, for as long as the block lasts."""
        name = f"flotilla-{self.run_id}-{process.name}"
        listens = {"SERVER__PORT": str(process.port), "WORKER__PORT": str(process.port), "ADMIN__PORT": "0"}
        options = self._options(process.service, self._settings(process.service) | listens)
        await self.engine.do("run", "--detach", "--name", name, *options, image_of(process.service), process.verb)
        try:
            yield name
        finally:
            await self.engine.do("rm", "--force", name)

    async def look(self, process: Process, container: str) -> str:
        """Wait until the process is ready, then see who it is and what it can write. Raises ImageFaulty."""
        began = time.monotonic()
        await self._ready(process, container)
        ready_s = time.monotonic() - began
        uid, root = (await self.engine.do("exec", container, "python", "-c", _LOOK)).split()
        if uid == "0" or root != "read-only":
            raise ImageFaulty(f"{process.name} runs as uid {uid} on a {root} root")
        return f"ready in {ready_s:4.1f} s   uid {uid}   root {root}"

    async def _ready(self, process: Process, container: str) -> None:
        until, said = time.monotonic() + READY_S, "nothing"
        async with httpx2.AsyncClient(timeout=5, trust_env=False) as client:
            while time.monotonic() < until:
                try:
                    reply = await client.get(f"http://{HOST}:{process.port}/readyz")
                except httpx2.TransportError as error:
                    said = type(error).__name__
                else:
                    if reply.status_code == 200:
                        return
                    said = f"{reply.status_code} {reply.text}"
                await asyncio.sleep(0.2)
        logs = (await self.engine.do("logs", "--tail", "20", container)).strip()
        raise ImageFaulty(f"{process.name} is not ready after {READY_S:.0f} s, its /readyz answered: {said}\n{logs}")

    def _options(self, service: FleetService, settings: Mapping[str, str]) -> list[str]:
        return [
            "--network", "host", *self.engine.strictly_read_only,
            "--cap-drop", "all", "--security-opt", "no-new-privileges",
            "--volume", f"{self.keys / service.name}.pem:{_INSIDE}/key.pem:ro",
            "--volume", f"{self.keys / 'trust.json'}:{_INSIDE}/trust.json:ro",
            *(f"--volume={self.keys / secret}:{_INSIDE}/{secret}:ro" for secret in service.secrets),
            *(part for name, value in settings.items() for part in ("--env", f"{name}={value}")),
        ]  # fmt: skip

    def _settings(self, service: FleetService) -> dict[str, str]:
        """No ENVIRONMENT among them: an image that is told nothing is in production, and has to be fit for it."""
        settings = {
            "PUBLIC_URL": "https://flotilla.example",
            "SERVER__HOST": HOST,
            "REDIS_URL": self.backing.redis_url,
            "IDENTITY__KEY_FILE": f"{_INSIDE}/key.pem",
            "IDENTITY__TRUST_FILE": f"{_INSIDE}/trust.json",
            "REVOCATIONS__FEEDS": json.dumps(service.follows),
        }
        settings |= service_urls(self.services, lambda other: f"{HOST}:{self.ports[other.name]}")
        if service.database:
            settings |= {"DATABASE_URL": self.backing.database_url_for(service.name), "BUS_URL": self.backing.bus_url}
            settings["BUS_ALLOW_VALKEY"] = "true"
        return settings | dict(service.production)
