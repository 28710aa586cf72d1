"""What tasks-service reads beyond the shared settings: its jobs, the worker and the mail server."""

import os
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from shared.background import Backoff
from shared.mail.settings import SmtpSettings
from shared.settings import Section, ServiceSettings


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


class TasksSettings(ServiceSettings):
    service: ClassVar[str] = "tasks"
    default_port: ClassVar[int] = 8004
    calls: ClassVar[tuple[str, ...]] = ("users",)
    follows: ClassVar[tuple[str, ...]] = ("auth", "users")

    jobs: JobsSettings = JobsSettings()
    worker: WorkerSettings = WorkerSettings()
    smtp: SmtpSettings = SmtpSettings()

    def production_errors(self) -> list[str]:
        mine = ["WORKER__OWNERS=token is for development"] if self.worker.owners == "token" else []
        return [*super().production_errors(), *self.smtp.production_errors(), *mine]
