"""Settings that every service shares: nested, typed, read once at the start from the environment and dotenv files.

`DATABASE__POOL_SIZE=20` sets `database.pool_size`. `.env` is read first, then `.env.<environment>`, then the process
environment, the later one winning. All errors are reported at once, and production refuses what only development may
use.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeAlias, TypeVar, cast
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

DEMO_SECRETS = frozenset({"flotilla", "postgres", "changeme", "demo"})
"""Values that stand in this repository's examples: never a secret in production."""

_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]+@")


def _base_url(written: str) -> str:
    try:
        parts = urlsplit(written)
        fit = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.username
    except ValueError:  # not a valid port
        fit = False
    if not fit or parts.query or parts.fragment:
        raise ValueError("must be a URL such as http://host:8001")
    return written.rstrip("/")


HttpUrl: TypeAlias = Annotated[str, AfterValidator(_base_url)]
"""Where a service is: a base URL, without the slash that paths begin with."""


ServiceName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
"""The name of a service in the fleet's list."""


MountedFile: TypeAlias = tuple[str, Path | None, Callable[[bytes], object]]
"""A setting, the file that it names, and what reads the file's content or raises ValueError."""


class Environment(StrEnum):
    DEVELOPMENT = "development"
    TESTING = "testing"
    STAGING = "staging"
    PRODUCTION = "production"


class Section(BaseModel):
    """A nested group of settings: a misspelt name is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(Section):
    host: str = Field(default="127.0.0.1", description="The address to listen on; 0.0.0.0 in a container.")
    port: int | None = Field(
        default=None, ge=0, le=65535, description="The port to listen on; unset: the service's default, 8000 to 8004."
    )
    max_body_bytes: int = Field(default=1024 * 1024, ge=1024, description="The largest JSON body; a larger one is 413.")
    drain_s: int = Field(default=20, ge=0, description="How long open requests may continue after SIGTERM.")


class DatabaseSettings(Section):
    name: str | None = Field(default=None, description="The name of the database; unset: flotilla_<service>.")
    pool_size: int = Field(default=10, ge=1, description="The maximum number of connections per process.")
    fleet_pool_size: int = Field(default=3, ge=1, description="The connection limit for queries across tenants.")
    pool_wait_s: float = Field(default=5.0, gt=0, description="How long to wait for a free connection; then 503.")
    connect_timeout_s: float = Field(default=3.0, gt=0, description="How long a connection attempt may take; then 503.")
    statement_timeout_s: float = Field(default=15.0, gt=0, description="Statements that run longer are cancelled.")
    idle_in_transaction_timeout_s: float = Field(
        default=15.0, gt=0, description="Ends transactions idle for this long, which frees their locks."
    )


class IdentitySettings(Section):
    key_file: Path | None = Field(default=None, description="This service's private key (PEM), shared by its replicas.")
    trust_file: Path | None = Field(
        default=None, description="The trusted services, their public keys and grants (JSON)."
    )
    accept_access_tokens: bool = Field(
        default=False, description="Development: accept client access tokens without a gateway."
    )
    jwks_url: HttpUrl | None = Field(default=None, description="The URL of auth-service's public keys.")


class RevocationSettings(Section):
    feeds: tuple[ServiceName, ...] = Field(
        default=(), description="The services whose revocation feeds are followed, as a JSON list."
    )
    interval_s: float = Field(default=0.5, gt=0, le=5, description="The interval between two polls of a feed.")
    stale_after_s: float = Field(default=30.0, gt=0, description="A feed without an answer for this long is stale.")
    on_stale: Literal["go_on", "refuse"] = Field(
        default="go_on",
        description="While a feed is stale: go_on rejects only routes marked `fresh`, refuse rejects every request.",
    )


class LogSettings(Section):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="The minimum level.")
    format: Literal["json", "console"] = Field(default="json", description="json for machines, console for a terminal.")
    file: Path | None = Field(default=None, description="A file to which JSON lines are also written, with rotation.")
    file_max_bytes: int = Field(default=20 * 1024 * 1024, ge=1024, description="The size at which the file is rotated.")
    file_backups: int = Field(default=5, ge=0, description="The number of rotated files to keep.")

    @field_validator("file")
    @classmethod
    def _has_a_folder(cls, file: Path | None) -> Path | None:
        if file is not None and not file.absolute().parent.is_dir():
            raise ValueError(f"the folder {file.absolute().parent} does not exist")
        return file


class TelemetrySettings(Section):
    otlp_endpoint: str | None = Field(
        default=None, description="The OTLP/HTTP endpoint for traces, such as http://collector:4318; unset: no export."
    )
    sample_ratio: float = Field(default=1.0, ge=0, le=1, description="The fraction of traces that is sampled.")


class CorsSettings(Section):
    origins: tuple[str, ...] = Field(default=(), description="The web origins that may call the API, as a JSON list.")


class _LeftAsItIs(EnvSettingsSource):
    """Leaves what should be JSON and is not to the validation, which names it beside every other entry."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


class _Dotenv(_LeftAsItIs, DotEnvSettingsSource):
    """The same for the dotenv files."""


class ServiceSettings(BaseSettings):
    """What every service reads. A service's settings.py extends it with sections of its own."""

    model_config = SettingsConfigDict(
        env_nested_delimiter="__",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        nested_model_default_partial_update=True,
    )

    service: ClassVar[str] = "service"
    default_port: ClassVar[int] = 8000
    calls: ClassVar[tuple[str, ...]] = ()
    """The services that this one calls: production requires their URLs."""
    follows: ClassVar[tuple[str, ...]] = ()
    """The services whose revocations end tokens here: production requires their feeds."""
    needs: ClassVar[Mapping[str, str]] = {"DATABASE_URL": "there is no database"}
    """Settings without which no process starts, in any environment, each with the reason."""
    production_needs: ClassVar[Mapping[str, str]] = {
        "BUS_URL": "events would wait in the outbox",
        "IDENTITY__KEY_FILE": "calls to other services could not be signed",
        "IDENTITY__TRUST_FILE": "no caller could be verified",
    }
    """The same, for production and staging only."""

    environment: Environment = Field(
        default=Environment.PRODUCTION, description="development, testing, staging or production."
    )
    public_url: HttpUrl = Field(
        default="http://localhost:8000",
        description="The URL at which clients reach the gateway; also the issuer of tokens.",
    )
    docs: bool | None = Field(
        default=None, description="Whether API documentation pages are served; unset: yes, except in production."
    )

    database_url: SecretStr | None = Field(
        default=None,
        description="The PostgreSQL server and the service's login: postgresql://login:password@host:port.",
    )
    redis_url: SecretStr | None = Field(default=None, description="The cache; holds only data that may be lost.")
    bus_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("bus_url", "amqp_url"),
        description="The event bus: amqp:// or redis://.",
    )
    bus_allow_valkey: bool = Field(default=False, description="Allows a Valkey bus in production.")

    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    identity: IdentitySettings = IdentitySettings()
    revocations: RevocationSettings = RevocationSettings()
    services: dict[ServiceName, HttpUrl] = Field(
        default={},
        validate_default=True,
        description="The base URL of each service: SERVICES__AUTH=http://auth:8001 and so on, or one JSON object.",
    )
    log: LogSettings = LogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    cors: CorsSettings = CorsSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        files = dotenv_settings.env_file if isinstance(dotenv_settings, DotEnvSettingsSource) else None
        return init_settings, _LeftAsItIs(settings_cls), _Dotenv(settings_cls, env_file=files)

    @property
    def development(self) -> bool:
        """Development and testing: what only a developer's machine may do is allowed."""
        return self.environment in (Environment.DEVELOPMENT, Environment.TESTING)

    @property
    def guarded(self) -> bool:
        """Production and staging: what only development may use is refused."""
        return self.environment in (Environment.PRODUCTION, Environment.STAGING)

    @property
    def docs_shown(self) -> bool:
        return self.environment is not Environment.PRODUCTION if self.docs is None else self.docs

    @property
    def port(self) -> int:
        """`SERVER__PORT` where it is set, else the service's own port of the fleet's list."""
        return self.default_port if self.server.port is None else self.server.port

    @field_validator("services")
    @classmethod
    def _feeds_have_urls(cls, services: dict[str, str], others: ValidationInfo) -> dict[str, str]:
        followed = others.data.get("revocations")  # absent where it is not valid itself
        missing = [name for name in followed.feeds if name not in services] if followed else []
        if missing:
            raise ValueError(
                "; ".join(f"REVOCATIONS__FEEDS names {name}, and {variable_of(name)} is not set" for name in missing)
            )
        return services

    def missing_settings(self) -> list[str]:
        """The settings that a process of this service needs and its environment lacks, each with the reason."""
        needs = {**self.needs, **(self.production_needs if self.guarded else {})}
        return [f"{name} is not set: {reason}" for name, reason in needs.items() if not _value_of(self, name)]

    def mounted_files(self) -> list["MountedFile"]:
        """The service's own files that a process must be able to use from its start."""
        return []

    def production_errors(self) -> list[str]:
        """What production refuses to start with; a service adds its own."""
        return [
            *_url_errors(self.public_url),
            *_secret_errors(self),
            *_bus_errors(self),
            *_identity_errors(self),
            *_missing_services(self),
            *_missing_feeds(self),
        ]

    @model_validator(mode="after")
    def _fit_for_production(self) -> Self:
        if self.guarded and (errors := self.production_errors()):
            raise _Unfit(self, errors)
        return self

    def shown(self) -> dict[str, Any]:
        """The settings as `/config` shows them: secrets and the passwords inside URLs are stars."""
        return cast(dict[str, Any], _without_passwords(self.model_dump(mode="json")))


def variable_of(service: str) -> str:
    """The variable that holds the URL of `service`."""
    return f"SERVICES__{service.upper()}"


def _without_passwords(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_passwords(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_passwords(one) for one in value]
    return _CREDENTIALS.sub("**********@", value) if isinstance(value, str) else value


def _url_errors(public_url: str) -> list[str]:
    return [] if urlsplit(public_url).scheme == "https" else [f"PUBLIC_URL is {public_url}: production requires https"]


def _secret_errors(settings: ServiceSettings) -> list[str]:
    named = {"DATABASE_URL": settings.database_url, "REDIS_URL": settings.redis_url, "BUS_URL": settings.bus_url}
    return [
        f"{name} has a password from this repository's examples"
        for name, url in named.items()
        if url is not None and urlsplit(url.get_secret_value()).password in DEMO_SECRETS
    ]


def _bus_errors(settings: ServiceSettings) -> list[str]:
    url = settings.bus_url.get_secret_value() if settings.bus_url else ""
    if url.startswith(("redis://", "rediss://")) and not settings.bus_allow_valkey:
        return ["BUS_URL is a Valkey bus: production requires BUS_ALLOW_VALKEY=true for it"]
    return []


def _identity_errors(settings: ServiceSettings) -> list[str]:
    return ["IDENTITY__ACCEPT_ACCESS_TOKENS is for development only"] if settings.identity.accept_access_tokens else []


def _missing_services(settings: ServiceSettings) -> list[str]:
    missing = [name for name in settings.calls if name not in settings.services]
    return [f"{variable_of(name)} is not set: {settings.service} calls {name}" for name in missing]


def _missing_feeds(settings: ServiceSettings) -> list[str]:
    missing = [name for name in settings.follows if name not in settings.revocations.feeds]
    return [f"REVOCATIONS__FEEDS lacks {', '.join(missing)}: revoked tokens would stay valid"] if missing else []


def _value_of(settings: ServiceSettings, variable: str) -> Any:
    """The setting that `variable` sets, such as `DATABASE__POOL_SIZE`."""
    return reduce(getattr, variable.lower().split("__"), settings)


class _Unfit(ValueError):
    """Settings that are whole, and for development alone."""

    def __init__(self, settings: ServiceSettings, errors: Sequence[str]) -> None:
        super().__init__("; ".join(errors))
        self.settings = settings


class OwnerSettings(BaseSettings):
    """The administrator's login, read by `db create` and `migrate` alone."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore")

    database_owner_url: SecretStr | None = Field(
        default=None,
        description="The PostgreSQL server and an administrator's login: postgresql://login:password@host:port.",
    )


S = TypeVar("S", bound=ServiceSettings)


class SettingsInvalid(Exception):
    """The environment does not describe a service that can run; the message lists every entry.

    `unfit` are the settings where they are whole, and production refuses them.
    """

    def __init__(self, message: str, *, unfit: ServiceSettings | None = None) -> None:
        super().__init__(message)
        self.unfit = unfit


def load(cls: type[S], folder: Path | None = None) -> S:
    """The settings of `cls` from `folder`'s dotenv files (default: the working folder) and the environment.

    Raises SettingsInvalid with every error, a line each.
    """
    folder = folder or Path.cwd()
    environment = os.environ.get("ENVIRONMENT") or _named_in(folder / ".env") or Environment.PRODUCTION
    files: Sequence[Path] = (folder / ".env", folder / f".env.{environment}")
    try:
        return cls(_env_file=files)
    except ValidationError as error:
        causes = [entry.get("ctx", {}).get("error") for entry in error.errors(include_input=False, include_url=False)]
        unfit = next((cause.settings for cause in causes if isinstance(cause, _Unfit)), None)
        raise SettingsInvalid("\n".join(_lines(cls, error)), unfit=unfit) from None


def _named_in(dotenv: Path) -> str | None:
    return dotenv_values(dotenv).get("ENVIRONMENT") if dotenv.is_file() else None


def _lines(cls: type[ServiceSettings], error: ValidationError) -> list[str]:
    lines = [f"{cls.service}: invalid settings:"]
    for entry in error.errors(include_input=False, include_url=False):
        name = "__".join(str(part) for part in entry["loc"] if part != "[key]").upper() or "settings"
        lines += [f"  {name}: {sentence}" for sentence in entry["msg"].removeprefix("Value error, ").split("; ")]
    return lines
