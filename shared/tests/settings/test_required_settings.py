"""Every service refuses to start in production without each setting that it needs, and names all of them at once."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.checked_settings import load_checked
from shared.dev.fleet import FleetService, fleet, inner_address, repository, service_urls
from shared.dev.images.secret_files import write_keys
from shared.settings import ServiceSettings, SettingsInvalid, variable_of

FLEET = fleet(repository())


def settings_of(service: FleetService) -> type[ServiceSettings]:
    module = importlib.import_module(f"{service.package}.settings")
    return next(
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, ServiceSettings) and kind is not ServiceSettings
    )


def required(service: FleetService) -> list[str]:
    """The table: what production cannot do without."""
    kind = settings_of(service)
    feeds = ["REVOCATIONS__FEEDS"] if kind.follows else []
    return [
        "PUBLIC_URL",
        *kind.needs,
        *kind.production_needs,
        *map(variable_of, kind.calls),
        *feeds,
        *service.production,
    ]


def complete(service: FleetService, folder: Path) -> dict[str, str]:
    """The environment of one production process of `service`; only its servers do not exist."""
    write_keys(folder, FLEET.values())
    environment = {
        "ENVIRONMENT": "production",
        "PUBLIC_URL": "https://flotilla.example",
        "DATABASE_URL": "postgresql://app:8d1fba@db.flotilla.example",
        "BUS_URL": "amqp://app:8d1fba@bus.flotilla.example",
        "REDIS_URL": "redis://cache.flotilla.example",
        "IDENTITY__KEY_FILE": str(folder / f"{service.name}.pem"),
        "IDENTITY__TRUST_FILE": str(folder / "trust.json"),
        "REVOCATIONS__FEEDS": json.dumps(service.follows),
        **service_urls(FLEET.values(), inner_address),
        **service.production,
    }
    for name in service.secrets:
        inside, here = f"/run/secrets/{name}", str(folder / name)
        environment = {key: here if value == inside else value for key, value in environment.items()}
    return environment


def errors(service: FleetService, environment: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The errors that prevent the start, as an operator sees them."""
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
    try:
        return "\n".join(load_checked(settings_of(service))[1])
    except SettingsInvalid as invalid:
        return str(invalid)


@pytest.mark.parametrize("service", FLEET.values(), ids=list(FLEET))
def test_a_complete_environment_is_accepted(
    service: FleetService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert errors(service, complete(service, tmp_path), tmp_path, monkeypatch) == ""


@pytest.mark.parametrize(
    ("service", "name"),
    [pytest.param(one, name, id=f"{one.name}-{name}") for one in FLEET.values() for name in required(one)],
)
def test_each_missing_setting_is_named(
    service: FleetService, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = complete(service, tmp_path)
    environment.pop(name)
    found = errors(service, environment, tmp_path, monkeypatch)
    assert name in found
    assert len([line for line in found.splitlines() if line.startswith("  ")]) == 1


@pytest.mark.parametrize("service", FLEET.values(), ids=list(FLEET))
def test_an_empty_environment_is_refused_with_every_setting_at_once(service: FleetService, tmp_path: Path) -> None:
    ended = subprocess.run(  # noqa: S603 - our own service
        [sys.executable, "-m", service.package, "serve"],
        cwd=tmp_path, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr + ended.stdout
    missing = [name for name in required(service) if name not in ended.stderr]
    assert not missing
