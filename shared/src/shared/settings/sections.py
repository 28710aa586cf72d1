"""The groups of settings that every service has, and the types of their values."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator

DAY_S: Final = 86_400
YEARS_S: Final = 10 * 365 * DAY_S
"""The most that a time in seconds may be: PostgreSQL and Python add it to the present."""


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


def _server_url(*schemes: str, such_as: str) -> AfterValidator:
    """A URL that names a server and may hold a password, so what was written is not repeated."""

    def checked(written: SecretStr) -> SecretStr:
        try:
            parts = urlsplit(written.get_secret_value())
            named = parts.hostname or "host=" in parts.query  # the query may name a Unix socket
            fit = parts.scheme in schemes and named and parts.port != 0 and not parts.fragment
            if parts.scheme.startswith("redis"):
                int(parts.path.strip("/") or 0)
        except ValueError:  # not a valid port or number
            fit = False
        if not fit:
            raise ValueError(f"must be a URL such as {such_as}; a password in it is percent-encoded")
        return written

    return AfterValidator(checked)


DatabaseUrl: TypeAlias = Annotated[
    SecretStr, _server_url("postgresql", "postgres", such_as="postgresql://login:password@host:5432")
]
CacheUrl: TypeAlias = Annotated[SecretStr, _server_url("redis", "rediss", such_as="redis://host:6379/0")]
BusUrl: TypeAlias = Annotated[
    SecretStr, _server_url("amqp", "amqps", "redis", "rediss", such_as="amqp://login:password@host:5672")
]


def _origin(written: str) -> str:
    if written == "*":
        return written
    if urlsplit(_base_url(written)).path:
        raise ValueError("must be an origin such as https://app.example, without a path")
    return written


Origin: TypeAlias = Annotated[str, AfterValidator(_origin)]
"""Scheme, host and port of a web page, or `*`."""


ServiceName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
"""The name of a service in the fleet's list."""


class Environment(StrEnum):
    DEVELOPMENT = "development"
    TESTING = "testing"
    STAGING = "staging"
    PRODUCTION = "production"


class Section(BaseModel):
    """A nested group of settings: a misspelt name is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ServerSettings(Section):
    host: str = Field(default="127.0.0.1", description="The address to listen on; 0.0.0.0 in a container.")
    port: int | None = Field(
        default=None, ge=0, le=65535, description="The port to listen on; unset: the service's default, 8000 to 8004."
    )
    max_body_bytes: int = Field(default=1024 * 1024, ge=1024, description="The largest JSON body; a larger one is 413.")
    body_s: float = Field(default=30, gt=0, description="How long a JSON body may take to arrive; then 408.")
    drain_s: int = Field(default=20, ge=0, description="How long open requests may continue after SIGTERM.")


class DatabaseSettings(Section):
    name: str | None = Field(default=None, description="The name of the database; unset: flotilla_<service>.")
    pool_size: int = Field(default=10, ge=1, description="The maximum number of connections per process.")
    fleet_pool_size: int = Field(default=3, ge=1, description="The connection limit for queries across tenants.")
    pool_wait_s: float = Field(default=5.0, gt=0, description="How long to wait for a free connection; then 503.")
    connect_timeout_s: float = Field(default=3.0, gt=0, description="How long a connection attempt may take; then 503.")
    statement_timeout_s: float = Field(
        default=15.0, ge=0.001, le=DAY_S, description="Statements that run longer are cancelled."
    )
    idle_in_transaction_timeout_s: float = Field(
        default=15.0, ge=0.001, le=DAY_S, description="Ends transactions idle for this long, which frees their locks."
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
    interval_s: float = Field(
        default=0.5, gt=0, le=5, description="The pause between a feed's answer and the next request."
    )
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
    otlp_endpoint: HttpUrl | None = Field(
        default=None, description="The OTLP/HTTP endpoint for traces, such as http://collector:4318; unset: no export."
    )
    sample_ratio: float = Field(default=1.0, ge=0, le=1, description="The fraction of traces that is sampled.")


class CorsSettings(Section):
    origins: tuple[Origin, ...] = Field(
        default=(), description="The web origins that may call the API, as a JSON list."
    )
