"""What users-service reads beyond the shared settings."""

from typing import ClassVar, Final, Literal

from pydantic import Field

from shared.settings import DAY_S, YEARS_S, Section, ServiceSettings

SLUG: Final = r"^[a-z][a-z0-9-]{1,38}[a-z0-9]$"

_DEVELOPMENT_STORAGE: Final = "file:///tmp/flotilla-files"


class FileSettings(Section):
    max_bytes: int = Field(default=100 * 1024 * 1024, ge=1, description="A larger file is 413.")
    upload_idle_s: float = Field(default=30.0, gt=0, description="An upload that is silent for this long is aborted.")
    upload_max_s: int = Field(
        default=6 * 3600, ge=1, le=YEARS_S, description="Unfinished uploads are removed after this time."
    )
    sweep_interval_s: float = Field(default=5.0, gt=0, description="The interval between sweeps for objects to remove.")


class RegistrationSettings(Section):
    tenants: Literal["open", "operator"] | None = Field(default=None, description="Who may create a tenant.")


class InvitationSettings(Section):
    ttl_s: int = Field(default=7 * DAY_S, ge=60, le=YEARS_S, description="How long an invitation can be accepted.")
    max_open: int = Field(
        default=100, ge=1, description="The open invitations that a tenant may have, with all those of the last day."
    )


class ActivitySettings(Section):
    keep_days: int = Field(default=180, ge=1, le=3660, description="How long the activity log keeps an entry.")


class DeletionSettings(Section):
    grace_s: int = Field(
        default=7 * DAY_S,
        ge=60,
        le=YEARS_S,
        description="The time in which a deleted tenant can be taken back.",
    )
    sweep_interval_s: float = Field(default=60.0, gt=0, description="The interval between looks for tenants to erase.")


class UsersSettings(ServiceSettings):
    service: ClassVar[str] = "users"
    default_port: ClassVar[int] = 8002
    calls: ClassVar[tuple[str, ...]] = ("auth",)

    storage_url: str = Field(
        default=_DEVELOPMENT_STORAGE,
        pattern=r"^(file:///|s3://[a-z0-9])\S+$",
        description="Where files are stored: file:// or s3://.",
    )
    default_tenant: str | None = Field(
        default=None, pattern=SLUG, description="Slug of the tenant that people without one join."
    )
    files: FileSettings = FileSettings()
    registration: RegistrationSettings = RegistrationSettings()
    invitations: InvitationSettings = InvitationSettings()
    activity: ActivitySettings = ActivitySettings()
    deletion: DeletionSettings = DeletionSettings()

    @property
    def people_may_create_tenants(self) -> bool:
        """Otherwise operators alone may: in production and staging, unless the settings say that anyone may."""
        return (self.registration.tenants or ("operator" if self.guarded else "open")) == "open"

    def production_errors(self) -> list[str]:
        temporary = self.storage_url == _DEVELOPMENT_STORAGE
        return super().production_errors() + (["STORAGE_URL is not set: files would live in /tmp"] if temporary else [])
