"""What compose.yaml and a development cluster keep secret: made here, kept in `.secrets/`, never committed.

`python -m shared.dev.images.secret_files compose` writes the files that compose.yaml names; `… cluster` prints the
Secrets of k8s/overlays/dev for `kubectl apply -f -`. Existing secrets are kept: a database keeps the password that it
was created with.
"""

import base64
import json
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import typer
import yaml

from shared.dev.fleet import FleetService, fleet, repository
from shared.dev.identity import load_keys, trust_document, write_private
from shared.dev.launcher.backing_services import LOGIN, login_of
from shared.dev.servers.postgres import SUPERUSER

FOLDER: Final = ".secrets"
_READABLE: Final = 0o444  # a container's user is nobody on this host: the folder's own mode keeps others out


def write_keys(folder: Path, services: Iterable[FleetService]) -> None:
    """Each service's key and secrets, and the trust file, for containers: without the development issuer."""
    by_name = {service.name: service for service in services}
    keys = load_keys(folder, by_name)
    write_private(folder / "trust.json", json.dumps(trust_document(keys, by_name), indent=2))
    secret_names = {name for service in by_name.values() for name in service.secrets}
    for name in secret_names:
        if not (folder / name).is_file():
            write_private(folder / name, base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
    for name in ("trust.json", *(f"{name}.pem" for name in keys), *secret_names):
        (folder / name).chmod(_READABLE)


class FleetSecrets:
    """The secrets of one installation of the fleet, in `folder`, which only its owner enters."""

    def __init__(self, folder: Path, services: Iterable[FleetService]) -> None:
        self._folder, self._services = folder, tuple(services)
        write_keys(folder, self._services)

    def environments(self) -> dict[str, dict[str, str]]:
        """The environment with passwords in it, by who gets it: each service has a database login of its own."""
        owner, bus = self._password("owner"), self._password("bus")
        bus_url = f"amqp://{LOGIN}:{bus}@rabbitmq:5672/"
        of_services = {
            service.name: {"DATABASE_URL": self._database_url(service.name), "BUS_URL": bus_url}
            for service in self._services
            if service.database
        }
        return of_services | {
            "owner": {"DATABASE_OWNER_URL": f"postgresql://{SUPERUSER}:{owner}@postgres:5432"},
            "postgres": {"POSTGRES_PASSWORD": owner},
            "rabbitmq": {"RABBITMQ_DEFAULT_USER": LOGIN, "RABBITMQ_DEFAULT_PASS": bus},
        }

    def _database_url(self, service: str) -> str:
        return f"postgresql://{login_of(service)}:{self._password(f'database-{service}')}@postgres:5432"

    def files(self, service: FleetService) -> dict[str, str]:
        """The files that `service` has mounted, by name."""
        files = {"key.pem": self._read(f"{service.name}.pem"), "trust.json": self._read("trust.json")}
        return files | {name: self._read(name) for name in service.secrets}

    def write_for_compose(self) -> None:
        """Beside the keys: an environment file for each of `environments`."""
        for name, environment in self.environments().items():
            lines = "".join(f"{variable}={value}\n" for variable, value in environment.items())
            write_private(self._folder / f"{name}.env", lines)

    def manifests(self) -> str:
        """The Secrets that the base and the development overlay refer to."""
        of_services = {f"{service.name}-files": self.files(service) for service in self._services}
        of_servers = {f"{name}-environment": values for name, values in self.environments().items()}
        return yaml.safe_dump_all(_secret(name, data) for name, data in {**of_services, **of_servers}.items())

    def _password(self, name: str) -> str:
        return self._kept(f"{name}.password", secrets.token_urlsafe(24))

    def _kept(self, name: str, fresh: str) -> str:
        path = self._folder / name
        if not path.is_file():
            write_private(path, fresh)
        return self._read(name)

    def _read(self, name: str) -> str:
        return (self._folder / name).read_text(encoding="utf-8")


def _secret(name: str, data: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque", "stringData": data}


line = typer.Typer(help="Secrets of compose.yaml and of a development cluster.", no_args_is_help=True)


@line.command()
def compose() -> None:
    """Write the files that compose.yaml names."""
    _of(repository()).write_for_compose()
    typer.echo(f"The secrets of compose.yaml are in {FOLDER}/.")


@line.command()
def cluster() -> None:
    """Print the Secrets of k8s/overlays/dev."""
    typer.echo(_of(repository()).manifests(), nl=False)


def _of(root: Path) -> FleetSecrets:
    return FleetSecrets(root / FOLDER, fleet(root).values())


if __name__ == "__main__":
    line()
