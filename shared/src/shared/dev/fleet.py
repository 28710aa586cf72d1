"""The fleet's list, read from the top-level pyproject.toml: the one place where services are named."""

import tomllib
from collections.abc import Callable, Iterable, Mapping
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
    folder: str
    port: int
    admin_port: int | None = None
    processes: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Verbs that run as processes of their own beside `serve`, each with the port of its health checks."""
    database: bool = True
    mail: bool = False
    """Whether it sends mail; in development it gets the mail catcher's address."""
    follows: tuple[str, ...] = ()
    """Services whose revocations it follows."""
    jwks: str | None = None
    """The path at which it publishes the keys of people's access tokens."""
    secrets: tuple[str, ...] = ()
    """Random keys of its own, mounted as files by these names."""
    grants: tuple[str, ...] = ()
    """Internal operations of other services that it may call for itself."""
    acts_with: tuple[str, ...] | None = None
    """Scopes that it may use for people at most, `*` for every one; None where it never acts for people."""
    production: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Settings without which production refuses to start."""

    @property
    def package(self) -> str:
        """The import package: the folder with underscores."""
        return self.folder.replace("-", "_")

    @property
    def image(self) -> str:
        """The image's name, without a tag."""
        return f"flotilla/{self.folder}"


def fleet(root: Path) -> dict[str, FleetService]:
    """Every service of the repository at `root`, by name, in the order in which they start."""
    listed = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["flotilla"]["services"]
    return {name: _service(name, entry) for name, entry in listed.items()}


def _service(name: str, entry: Mapping[str, Any]) -> FleetService:
    """An entry needs a port only: the folder is `<name>-service` where it names no other."""
    values: dict[str, Any] = {"folder": f"{name}-service", **entry}
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    return FleetService(name=name, **(values | lists))


def service_urls(services: Iterable[FleetService], address: Callable[[FleetService], str]) -> dict[str, str]:
    """The variables that say where the services behind the gateway are, and where the public keys are."""
    variables = {}
    for service in services:
        if service.name != GATEWAY:
            variables[variable_of(service.name)] = f"http://{address(service)}"
        if service.jwks:
            variables["IDENTITY__JWKS_URL"] = f"http://{address(service)}{service.jwks}"
    return variables


def inner_address(service: FleetService) -> str:
    """Host and port where each service is a host by its name: in Compose and in a cluster."""
    return f"{service.name}:{service.port}"


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
