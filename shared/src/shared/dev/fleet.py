"""The fleet's list, read from the top-level pyproject.toml: the one place where services are named."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


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


def fleet(root: Path) -> dict[str, FleetService]:
    """Every service of the repository at `root`, by name, in the order in which they start."""
    listed = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["flotilla"]["services"]
    return {
        name: FleetService(name=name, **{**entry, "processes": tuple(entry.get("processes", ()))})
        for name, entry in listed.items()
    }


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
