"""What auth-service reads beyond the shared settings."""

import base64
import binascii
from pathlib import Path
from typing import ClassVar, Final, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from shared.mail.settings import SmtpSettings
from shared.outbound import OutboundSettings
from shared.settings import DAY_S, YEARS_S, MountedFile, Section, ServiceSettings

ROOT_BYTES: Final = 32
SHORTEST: Final = {"composition": 8, "length": 15}
"""The minimum length of a password by policy; 15 without rules of composition are NIST SP 800-63B-4, 3.1.1.2."""


class KeyringInvalid(ValueError):
    """The encryption key is not 32 bytes of base64url; the message never shows it."""


def root_secrets(text: str) -> list[bytes]:
    """The root secrets of a setting or a file: base64url, with commas, spaces or line ends between. KeyringInvalid."""
    secrets = [_root_secret(part) for part in text.replace(",", " ").split()]
    if not secrets:
        raise KeyringInvalid("the encryption key is empty")
    return secrets


def _read_root_secrets(content: bytes) -> list[bytes]:
    return root_secrets(content.decode(errors="replace"))


def _root_secret(text: str) -> bytes:
    try:
        secret = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise KeyringInvalid("the encryption key is not base64url") from None
    if len(secret) != ROOT_BYTES:
        raise KeyringInvalid(f"the encryption key has {len(secret)} bytes, not {ROOT_BYTES}")
    return secret


class KeySettings(Section):
    """The secret that encrypts the signing keys and signs refresh tokens; `keyring.py` says what is made of it."""

    encryption_key: SecretStr | None = Field(
        default=None, description="32 bytes as base64url; several by commas: the first is used, all still decrypt."
    )
    encryption_key_file: Path | None = Field(default=None, description="A file with the same, one key per line.")
    rotate_every_d: int = Field(
        default=90, ge=0, le=3650, description="Days that a signing key signs; 0: until `keys rotate`."
    )

    @field_validator("encryption_key")
    @classmethod
    def _readable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            root_secrets(value.get_secret_value())
        return value


class RegistrationSettings(Section):
    """Open in development; production names both."""

    people: Literal["open", "invited", "closed"] | None = Field(default=None, description="Who may register.")
    tenants: Literal["open", "operator"] | None = Field(default=None, description="Who may create a tenant.")
    verify_email: bool | None = Field(
        default=None,
        description="Whether an account signs in only once its email is verified; unset: in staging and production.",
    )
    pending_ttl_s: int = Field(
        default=3600, ge=60, le=YEARS_S, description="How long an unfinished registration is resumable."
    )


class PasswordSettings(Section):
    """The rule that new passwords follow, and what hashing one costs (argon2id, RFC 9106)."""

    policy: Literal["composition", "length"] = Field(
        default="composition",
        description="composition: at least 8 characters with upper case, lower case and a digit; "
        "length: at least 15 characters. Common passwords are refused by both.",
    )
    min_length: int | None = Field(
        default=None, ge=8, le=64, description="A higher minimum than the policy's 8 or 15 characters."
    )
    time_cost: int = Field(default=3, ge=1, description="Passes over the memory.")
    memory_kib: int = Field(default=64 * 1024, ge=8, description="Memory of one hash.")
    parallelism: int = Field(default=4, ge=1, description="Lanes of one hash.")
    workers: int = Field(default=2, ge=1, description="Hashes at the same time; each holds memory_kib.")
    max_waiting: int = Field(default=100, ge=0, description="Requests that wait for a worker; the next one is 503.")

    @property
    def shortest(self) -> int:
        """The minimum length of a password, in characters."""
        return max(SHORTEST[self.policy], self.min_length or 0)

    @property
    def needs_classes(self) -> bool:
        return self.policy == "composition"

    @model_validator(mode="after")
    def _can_hash(self) -> Self:
        if self.memory_kib < 8 * self.parallelism:
            raise ValueError("MEMORY_KIB must be at least 8 times PARALLELISM (RFC 9106, section 3.1)")
        return self


class SessionSettings(Section):
    refresh_grace_s: int = Field(
        default=20, ge=0, le=DAY_S, description="A retry of the last refresh gets the same successor."
    )
    idle_ttl_s: int = Field(
        default=12 * 3600, ge=60, le=YEARS_S, description="A session that is not refreshed for this long ends."
    )
    remembered_idle_ttl_s: int = Field(
        default=30 * DAY_S, ge=60, le=YEARS_S, description="The same for a sign-in with `remember_me`."
    )
    max_ttl_s: int = Field(
        default=180 * DAY_S, ge=60, le=YEARS_S, description="A session ends however often it is refreshed."
    )


class SignInSettings(Section):
    """The throttle of sign-in. Only failures count, and LIMITS__SCALE never touches it."""

    failures_per_account: int = Field(default=10, ge=1, description="In a window, before sign-ins to it are 429.")
    failures_per_address: int = Field(default=100, ge=1, description="In a window, over all accounts.")
    window_s: int = Field(default=900, ge=1, le=YEARS_S, description="How long a failure counts.")
    count_loopback: bool | None = Field(
        default=None,
        description="Whether failures from loopback addresses count too; unset: not in development and testing, where "
        "all people share the address of one machine.",
    )


class LinkSettings(Section):
    """How long the single-use links in mails are valid."""

    verify_ttl_s: int = Field(default=86400, ge=60, description="A link that verifies an email address.")
    sign_in_ttl_s: int = Field(default=900, ge=60, description="A link that signs in.")
    reset_ttl_s: int = Field(default=1800, ge=60, description="A link that sets a new password.")
    reactivate_ttl_s: int = Field(default=1800, ge=60, description="A link that reactivates an account.")
    operator_ttl_s: int = Field(default=86400, ge=60, description="A link that makes its holder an operator.")


class MailSettings(Section):
    """The mails about an account's security."""

    product: str = Field(default="Flotilla", min_length=1, max_length=60, description="The name in every mail.")
    per_address_and_hour: int = Field(default=3, ge=1, description="Mails of one kind that an address gets on request.")


class MfaSettings(Section):
    """Second factors."""

    required: bool = Field(default=False, description="Whether tenants require a second factor of their members.")
    issuer: str | None = Field(
        default=None, max_length=60, description="The name that authenticator apps show; unset: MAILS__PRODUCT."
    )


class AuditSettings(Section):
    kept_days: int = Field(default=400, ge=30, le=36500, description="How long the audit trail is kept.")


class AuthSettings(ServiceSettings):
    service: ClassVar[str] = "auth"
    default_port: ClassVar[int] = 8001
    calls: ClassVar[tuple[str, ...]] = ("users",)
    follows: ClassVar[tuple[str, ...]] = ("users",)

    keys: KeySettings = KeySettings()
    registration: RegistrationSettings = RegistrationSettings()
    passwords: PasswordSettings = PasswordSettings()
    sessions: SessionSettings = SessionSettings()
    sign_in: SignInSettings = SignInSettings()
    mfa: MfaSettings = MfaSettings()
    audit: AuditSettings = AuditSettings()
    links: LinkSettings = LinkSettings()
    mails: MailSettings = MailSettings()
    smtp: SmtpSettings = SmtpSettings()
    outbound: OutboundSettings = OutboundSettings()

    @property
    def emails_are_verified(self) -> bool:
        """Whether an email must be verified; otherwise it is trusted as it was typed."""
        return self.guarded if self.registration.verify_email is None else self.registration.verify_email

    def page(self, path: str) -> str:
        """The URL of one of this service's pages for people, behind the gateway."""
        return f"{self.public_url}/auth/pages/{path}"

    @property
    def people_may_register(self) -> bool:
        return (self.registration.people or "open") == "open"

    @property
    def tenants_may_register(self) -> bool:
        return (self.registration.tenants or "open") == "open"

    @property
    def counts_loopback(self) -> bool:
        return self.guarded if self.sign_in.count_loopback is None else self.sign_in.count_loopback

    def mounted_files(self) -> list[MountedFile]:
        return [("KEYS__ENCRYPTION_KEY_FILE", self.keys.encryption_key_file, _read_root_secrets)]

    def production_errors(self) -> list[str]:
        errors = [
            *super().production_errors(),
            *self.smtp.production_errors(),
            *self.outbound.production_errors(),
        ]
        if self.registration.people is None:
            errors.append("REGISTRATION__PEOPLE is not named: open, invited or closed")
        if self.registration.tenants is None:
            errors.append("REGISTRATION__TENANTS is not named: open or operator")
        return errors

    def missing_settings(self) -> list[str]:
        missing = super().missing_settings()
        if self.keys.encryption_key is None and self.keys.encryption_key_file is None:
            missing.append("KEYS__ENCRYPTION_KEY_FILE is not set, nor KEYS__ENCRYPTION_KEY: keys could not be stored")
        return missing
