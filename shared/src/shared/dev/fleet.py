"""The fleet's list, read from the top-level pyproject.toml: the one place where services are named."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from shared.settings import variable_of

GATEWAY: Final = "gateway"
"""The one service that clients reach; it calls the others, and none calls it."""


@dataclass(frozen=True)
class FleetService:
    """One service as the list has it."""

    name: str
    package: str
    folder: str
    port: int
    admin_port: int | None = None
    processes: tuple[str, ...] = ()
    """Verbs that run as processes of their own beside `serve`."""
    database: bool = True
    follows: tuple[str, ...] = ()
    """Services whose revocations it follows."""
    jwks: str | None = None
    """The path at which it publishes the keys of people's access tokens."""
    secrets: tuple[str, ...] = ()
    """Random keys of its own, mounted as files by these names."""
    production: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Settings without which production refuses to start."""


def fleet(root: Path) -> dict[str, FleetService]:
    """Every service of the repository at `root`, by name, in the order in which they start."""
    listed = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["flotilla"]["services"]
    return {name: FleetService(name=name, **_frozen(entry)) for name, entry in listed.items()}


def _frozen(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}


def service_urls(services: Iterable[FleetService], host: str, ports: Mapping[str, int]) -> dict[str, str]:
    """The variables that say where the services behind the gateway are, and where the public keys are."""
    variables = {}
    for service in services:
        url = f"http://{host}:{ports[service.name]}"
        if service.name != GATEWAY:
            variables[variable_of(service.name)] = url
        if service.jwks:
            variables["IDENTITY__JWKS_URL"] = f"{url}{service.jwks}"
    return variables


def processes(services: Iterable[FleetService]) -> dict[str, tuple[FleetService, str]]:
    """Every process by its name, with its service and its verb: `tasks` serves, `worker` works for the same service."""
    return {
        name: (service, verb)
        for service in services
        for name, verb in [(service.name, "serve"), *((verb, verb) for verb in service.processes)]
    }


def repository() -> Path:
    """The repository that this package is installed from (editable)."""
    return Path(__file__).resolve().parents[4]
