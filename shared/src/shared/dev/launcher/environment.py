"""The environment of each process in development: everything a service reads, from one place."""

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from shared.dev.fleet import FleetService, service_urls
from shared.dev.launcher.backing_services import Backing
from shared.dev.launcher.data_folder import DataFolder
from shared.dev.servers.server import HOST


@dataclass(frozen=True)
class Surroundings:
    """What the processes of one fleet have in common."""

    folder: DataFolder
    backing: Backing
    ports: Mapping[str, int]
    services: Collection[FleetService]
    gateways: int = 1
    real_limits: bool = False
    alone: bool = False
    """Only one service runs: there is nobody to follow."""

    @property
    def public_url(self) -> str:
        return f"http://localhost:{self.ports['gateway']}"

    def environment(self, service: FleetService, port: int, **more: str) -> dict[str, str]:
        """The whole environment of a process of `service` that listens on `port`."""
        return {**_inherited(), **self.settings(service, port), **more}

    def settings(self, service: FleetService, port: int) -> dict[str, str]:
        """Only what the launcher decides: what an environment file for a debugger holds."""
        settings = {
            "ENVIRONMENT": "development",
            "PUBLIC_URL": self.public_url,
            "SERVER__HOST": HOST,
            "SERVER__PORT": str(port),
            "SERVER__DRAIN_S": "5",
            "LOG__FORMAT": "json",
            "REDIS_URL": self.backing.redis_url,
            "BUS_URL": self.backing.bus_url,
            "IDENTITY__KEY_FILE": str(self.folder.keys / f"{service.name}.pem"),
            "IDENTITY__TRUST_FILE": str(self.folder.keys / "trust.json"),
            "IDENTITY__ACCEPT_ACCESS_TOKENS": "true",
            "STORAGE_URL": self.folder.files.as_uri(),
            "KEYS__ENCRYPTION_KEY_FILE": str(self.folder.secret_file("encryption")),
            "LIMITS__GATEWAYS": str(self.gateways),
        }
        if service.mail:
            settings |= {"SMTP__HOST": HOST, "SMTP__PORT": str(self.ports["smtp"])}
        if service.database:
            settings["DATABASE_URL"] = self.backing.database_url_for(service.name)
        if service.admin_port is not None:
            settings["ADMIN__PORT"] = str(self.ports[f"{service.name}-admin"])
        if self.real_limits:
            settings["LIMITS__SCALE"] = "1"
        return settings | self._others(service)

    def _others(self, service: FleetService) -> dict[str, str]:
        """Where the other services are; alone, no keys or revocations are read, nor a job owner's roles."""
        urls = service_urls(self.services, lambda other: f"{HOST}:{self.ports[other.name]}")
        if self.alone:
            urls.pop("IDENTITY__JWKS_URL", None)
            return urls | {"REVOCATIONS__FEEDS": "[]", "WORKER__OWNERS": "token"}
        return urls | {"REVOCATIONS__FEEDS": json.dumps(service.follows)}


def _inherited() -> dict[str, str]:
    """The launcher's own environment; what the servers' URLs named there has its place in `Backing`."""
    return {name: value for name, value in os.environ.items() if name not in ("AMQP_URL", "DATABASE_OWNER_URL")}


def dotenv(settings: Mapping[str, str]) -> str:
    """A line for each setting, as a shell and a dotenv file both read it."""
    return "".join(f"{name}={_quoted(value)}\n" for name, value in settings.items())


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"
