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


WRONG_ANYWHERE = [
    ("DATABASE_URL", "mysql://app:8d1fba@db"),
    ("DATABASE_URL", "postgresql://app:8d#1fba@db"),
    ("DATABASE_URL", "postgresql://app:8d1fba@db:port"),
    ("REDIS_URL", "http://cache"),
    ("REDIS_URL", "redis://cache/first"),
    ("BUS_URL", "kafka://bus"),
    ("PUBLIC_URL", "flotilla.example"),
    ("IDENTITY__JWKS_URL", "auth:8001"),
    ("TELEMETRY__OTLP_ENDPOINT", "collector:4318"),
    ("CORS__ORIGINS", '["app.example"]'),
    ("CORS__ORIGINS", '["https://app.example/page"]'),
    ("LOG__FILE", "/no/such/folder/log"),
    ("SERVER__DRAIN_S", "20s"),
    ("DATABASE__POOL_WAIT_S", "inf"),
    ("DATABASE__STATEMENT_TIMEOUT_S", "0.0001"),
    ("DATABASE__STATEMENT_TIMEOUT_S", "1e12"),
    ("IDENTITY__TRUST_FILE", "/no/such/file"),
]
WRONG = {
    "auth": [
        ("KEYS__ENCRYPTION_KEY_FILE", "/no/such/file"),
        ("KEYS__ENCRYPTION_KEY", "short"),
        ("PASSWORDS__MEMORY_KIB", "16"),
        ("SESSIONS__IDLE_TTL_S", "1000000000000"),
        ("AUDIT__KEPT_DAYS", "1000000000"),
    ],
    "users": [
        ("STORAGE_URL", "ftp://files.example"),
        ("STORAGE_URL", "s3://"),
        ("DEFAULT_TENANT", "The Default"),
        ("FILES__UPLOAD_MAX_S", "1000000000000"),
    ],
    "chat": [("POLL_S", "nan"), ("SOCKET__HEARTBEAT_S", "inf")],
    "tasks": [
        ("SMTP__SENDER", "Flotilla"),
        ("SMTP__SENDER", "ann@example.com, bob@example.com"),
        ("SMTP__SENDER", "Flotilla <no-reply@>"),
        ("SMTP__SENDER", "Flotilla\n<no-reply@example.com>"),
        ("SMTP__SENDER", "no-reply@h\u00e4fen.example"),
        ("SMTP__HOST", "mail server"),
        ("SMTP__MESSAGE_ID_DOMAIN", "flotilla.example>"),
        ("SMTP__USERNAME", "without-a-password"),
        ("WORKER__HEARTBEAT_S", "100"),
    ],
    "gateway": [
        ("ROUTES_FILE", "/no/such/file"),
        ("ROUTES_FILE", __file__),
        ("PROXY__TRUSTED", '["10.0.0.0/40"]'),
        ("UPSTREAMS__CHAT", '["chat:8003"]'),
    ],
}


@pytest.mark.parametrize(
    ("service", "name", "value"),
    [
        pytest.param(one, name, value, id=f"{one.name}-{name}-{number}")
        for one in FLEET.values()
        for number, (name, value) in enumerate(WRONG_ANYWHERE + WRONG.get(one.name, []))
    ],
)
def test_a_value_that_cannot_be_used_prevents_the_start(
    service: FleetService, name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is found only when a request, a mail or a job needs it; and no password is shown."""
    section = name.partition("__")[0]
    found = errors(service, complete(service, tmp_path) | {name: value}, tmp_path, monkeypatch)
    assert [line for line in found.splitlines() if line.startswith((f"  {name}", f"  {section}: "))]
    assert "8d" not in found.replace(str(tmp_path), "")


def test_the_server_of_mail_takes_one_kind_of_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = {"SMTP__USE_TLS": "true", "SMTP__START_TLS": "true"}
    found = errors(FLEET["tasks"], complete(FLEET["tasks"], tmp_path) | tls, tmp_path, monkeypatch)
    assert "USE_TLS and START_TLS" in found


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
