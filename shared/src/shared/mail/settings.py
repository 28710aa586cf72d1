"""The mail server in the settings of a service that sends mail."""

from email.errors import HeaderParseError
from email.message import EmailMessage
from email.policy import SMTP
from typing import Final, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from shared.settings import Section

DEVELOPMENT_MAIL_PORT: Final = 2525
"""Where the launcher's mail catcher listens; production refuses it."""


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

    def production_errors(self) -> list[str]:
        """Why these settings are not for production, a line each."""
        catcher = self.port == DEVELOPMENT_MAIL_PORT and self.host in ("127.0.0.1", "localhost", "::1")
        return ["SMTP__HOST and SMTP__PORT are the development mail catcher's"] if catcher else []

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
