"""What every service reads, and what production refuses."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeAlias, cast
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from shared.settings.sections import (
    DAY_S,
    BusUrl,
    CacheUrl,
    CorsSettings,
    DatabaseSettings,
    DatabaseUrl,
    Environment,
    HttpUrl,
    IdentitySettings,
    LogSettings,
    RevocationSettings,
    ServerSettings,
    ServiceName,
    TelemetrySettings,
)
from shared.settings.sources import LenientDotenv, LenientEnvironment

DEMO_SECRETS = frozenset({"flotilla", "postgres", "changeme", "demo"})
"""Values that stand in this repository's examples: never a secret in production."""

_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]+@")

MountedFile: TypeAlias = tuple[str, Path | None, Callable[[bytes], object]]
"""A setting, the file that it names, and what reads the file's content or raises ValueError."""


class ServiceSettings(BaseSettings):
    """What every service reads. A service's settings.py extends it with sections of its own."""

    model_config = SettingsConfigDict(
        env_nested_delimiter="__",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        nested_model_default_partial_update=True,
        allow_inf_nan=False,
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
    special_use_email_domains: bool | None = Field(
        default=None,
        description="Whether new email addresses may be at special-use domains such as .local and .test (RFC 6761); "
        "unset: only in development and testing.",
    )

    database_url: DatabaseUrl | None = Field(
        default=None,
        description="The PostgreSQL server and the service's login: postgresql://login:password@host:port.",
    )
    redis_url: CacheUrl | None = Field(default=None, description="The cache; holds only data that may be lost.")
    bus_url: BusUrl | None = Field(
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
    services_timeout_s: float = Field(
        default=3.0, gt=0, le=DAY_S, description="How long a call to another service may take; then 503."
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
        return init_settings, LenientEnvironment(settings_cls), LenientDotenv(settings_cls, env_file=files)

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
    def accepts_special_use_email_domains(self) -> bool:
        return self.development if self.special_use_email_domains is None else self.special_use_email_domains

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

    def mounted_files(self) -> list[MountedFile]:
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
            raise Unfit(self, errors)
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


class Unfit(ValueError):
    """Settings that are whole, and for development alone."""

    def __init__(self, settings: ServiceSettings, errors: Sequence[str]) -> None:
        super().__init__("; ".join(errors))
        self.settings = settings
