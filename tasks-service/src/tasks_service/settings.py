"""What tasks-service reads beyond the shared settings: its jobs, the worker and the mail server."""

import os
from email.errors import HeaderParseError
from email.message import EmailMessage
from email.policy import SMTP
from typing import ClassVar, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from shared.background import Backoff
from shared.settings import Section, ServiceSettings

DEVELOPMENT_MAIL_PORT = 2525
"""Where the launcher's mail catcher listens; production refuses it."""


class JobsSettings(Section):
    """How jobs are kept."""

    kept_days: int = Field(
        default=30, ge=1, le=36500, description="Ended jobs and their results are deleted after so many days."
    )


class WorkerSettings(Section):
    """How a worker process works. Leases are by the database's clock, so machines' clocks may differ."""

    owners: Literal["users", "token"] = Field(
        default="users",
        description="The source of a job owner's roles: users-service; in development, where that does "
        "not run, the token that submitted the job.",
    )
    port: int = Field(default=8014, ge=0, le=65535, description="Health and metrics of the worker.")
    concurrency: int = Field(default=20, ge=1, le=1000, description="Jobs that one worker runs at once.")
    children: int = Field(
        default_factory=lambda: min(4, os.cpu_count() or 1),
        ge=1,
        le=64,
        description="Child processes for CPU-heavy work; unset: one a processor, at most 4.",
    )
    lease_s: float = Field(default=15, gt=0, description="A worker that sends no heartbeat for longer loses its jobs.")
    heartbeat_s: float = Field(default=5, gt=0, description="How often leases are extended; a third of lease_s.")
    reap_s: float = Field(default=2, gt=0, description="How often expired leases are looked for.")
    poll_s: float = Field(default=1, gt=0, description="How often the queue is polled without a NOTIFY.")
    drain_s: float = Field(default=15, ge=0, description="How long running jobs may continue after SIGTERM.")
    backoff_first_s: float = Field(default=2, gt=0, description="Before the second attempt; doubles from there.")
    backoff_most_s: float = Field(default=300, gt=0, description="The longest wait between two attempts.")
    progress_s: float = Field(default=0.25, gt=0, description="The minimum interval between stored progress reports.")
    timeout_scale: float = Field(default=1, gt=0, description="Multiplies the time limits of all kinds.")
    max_file_bytes: int = Field(default=100 * 1024 * 1024, ge=1, description="Larger files are refused.")
    max_result_bytes: int = Field(default=10 * 1024 * 1024, ge=1024, description="A larger result fails its job.")

    @property
    def backoff(self) -> Backoff:
        """The wait before a job's next attempt."""
        return Backoff(first_s=self.backoff_first_s, most_s=self.backoff_most_s)

    @model_validator(mode="after")
    def _beats_within_the_lease(self) -> Self:
        if self.heartbeat_s > self.lease_s / 2:
            raise ValueError("HEARTBEAT_S must be at most half of LEASE_S: one late beat must not lose every job")
        return self


class SmtpSettings(Section):
    """The server that mail is handed to."""

    host: str = Field(
        default="127.0.0.1", pattern=r"^\S+$", description="Where it is; by default the launcher's mail catcher."
    )
    port: int = Field(default=DEVELOPMENT_MAIL_PORT, ge=1, le=65535, description="Its port; 587 for most.")
    username: str | None = Field(default=None, description="Unset: without a sign-in.")
    password: SecretStr | None = Field(default=None, description="The password of the username.")
    use_tls: bool = Field(default=False, description="TLS from the first byte (port 465).")
    start_tls: bool | None = Field(default=None, description="Unset: if the server offers it.")
    sender: str = Field(default="Flotilla <no-reply@flotilla.example>", description="The From of every mail.")
    message_id_domain: str = Field(
        default="flotilla.example",
        pattern=r"^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$",
        description="The right side of Message-ID.",
    )
    timeout_s: float = Field(default=20, gt=0, description="The time limit for sending one mail.")

    @field_validator("sender")
    @classmethod
    def _is_one_address(cls, sender: str) -> str:
        address_of(sender)
        return sender

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        errors = []
        if self.use_tls and self.start_tls:
            errors.append("USE_TLS and START_TLS exclude each other")
        if (self.username is None) != (self.password is None):
            errors.append("USERNAME and PASSWORD belong together")
        if errors:
            raise ValueError("; ".join(errors))
        return self

    @property
    def sender_address(self) -> str:
        """The address in `sender`, for the envelope."""
        return address_of(self.sender)


def address_of(sender: str) -> str:
    """The address of a From such as `Flotilla <no-reply@example.com>`. Raises ValueError if it is not one address."""
    message = EmailMessage(policy=SMTP)
    try:
        message["From"] = sender
        addresses = message["From"].addresses
    except (ValueError, IndexError, HeaderParseError):  # a line end, or what the parser of Python 3.11 cannot read
        addresses = ()
    if len(addresses) != 1 or not addresses[0].domain or message["From"].defects:
        raise ValueError("must be one address such as Flotilla <no-reply@example.com>")
    if not addresses[0].addr_spec.isascii():
        raise ValueError("must have an ASCII address; an international domain in its IDNA form")
    return str(addresses[0].addr_spec)


class TasksSettings(ServiceSettings):
    service: ClassVar[str] = "tasks"
    default_port: ClassVar[int] = 8004
    calls: ClassVar[tuple[str, ...]] = ("users",)
    follows: ClassVar[tuple[str, ...]] = ("auth", "users")

    jobs: JobsSettings = JobsSettings()
    worker: WorkerSettings = WorkerSettings()
    smtp: SmtpSettings = SmtpSettings()

    def production_errors(self) -> list[str]:
        catcher = self.smtp.port == DEVELOPMENT_MAIL_PORT and self.smtp.host in ("127.0.0.1", "localhost", "::1")
        mine = ["SMTP__HOST and SMTP__PORT are the development mail catcher's"] if catcher else []
        mine += ["WORKER__OWNERS=token is for development"] if self.worker.owners == "token" else []
        return [*super().production_errors(), *mine]
