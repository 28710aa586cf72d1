"""email: one message to one address, handed to the SMTP server.

A repeated attempt sends the same Message-ID, so that mail systems and people recognize the duplicate.
"""

from collections.abc import Iterator
from typing import Annotated

import aiosmtplib
import orjson
from pydantic import AfterValidator, ConfigDict, Field

from shared.email_addresses import domain_errors, parsed
from shared.field_errors import FieldError, FieldRule
from shared.text import NAME
from shared.web.json_input import Input
from tasks_service.kinds.kind import Kind, Running
from tasks_service.kinds.mail_message import Mail, composed
from tasks_service.kinds.problems import MailRefused, MailServerUnavailable
from tasks_service.settings import TasksSettings

ENCODED_WORD = FieldRule("encoded_word", "Must not contain `=?`, which mail programs decode (RFC 2047).")


def _address(value: str) -> str:
    """An address as it goes into a header and an envelope: ASCII, the domain in its IDNA form."""
    found = parsed(value, ascii_only=True)
    if "=?" in found.local_part:
        raise ENCODED_WORD.broken()
    return found.ascii_email or found.normalized


class MailInput(Input):
    model_config = ConfigDict(
        json_schema_extra={"example": {"to": "ann@example.com", "subject": "Ahoy", "text": "The fleet is in."}}
    )

    to: Annotated[str, Field(min_length=3, max_length=254), AfterValidator(_address)]
    subject: Annotated[str, Field(min_length=1, max_length=200), NAME]
    text: Annotated[str, Field(max_length=200_000)]
    html: Annotated[str, Field(max_length=500_000)] | None = None


async def run(given: MailInput, job: Running) -> bytes:
    mail = _mail(given, job)
    job.progress(10, "handing over")
    await job.confirm()
    await _send(mail, job)
    return orjson.dumps({"message_id": mail.message_id, "to": given.to})


def errors_in(given: MailInput, settings: TasksSettings) -> Iterator[FieldError]:
    return domain_errors(given.to, settings, "#/input/to")


def _mail(given: MailInput, job: Running) -> Mail:
    smtp = job.settings.smtp
    return Mail(
        sender=smtp.sender,
        to=given.to,
        subject=given.subject,
        text=given.text,
        html=given.html,
        message_id=f"<{job.job_id}@{smtp.message_id_domain}>",
        date=job.created_at,
    )


async def _send(mail: Mail, job: Running) -> None:
    smtp = job.settings.smtp
    try:
        await aiosmtplib.send(
            composed(mail),
            sender=smtp.sender_address,
            recipients=[mail.to],
            hostname=smtp.host,
            port=smtp.port,
            username=smtp.username,
            password=smtp.password.get_secret_value() if smtp.password else None,
            use_tls=smtp.use_tls,
            start_tls=smtp.start_tls,
            timeout=smtp.timeout_s,
        )
    except aiosmtplib.SMTPRecipientsRefused as error:
        raise _refusal(error.recipients[0].code) from error
    except aiosmtplib.SMTPResponseException as error:  # an answer at any step, from the greeting to after the message
        raise _refusal(error.code) from error
    except (aiosmtplib.SMTPException, OSError) as error:
        raise MailServerUnavailable from error


def _refusal(code: int) -> MailRefused | MailServerUnavailable:
    """5xx is permanent, everything else transient (RFC 5321, section 4.2.1).

    The server's words may name people: they are not repeated.
    """
    if 500 <= code <= 599:
        return MailRefused(f"The mail server answered {code}.")
    return MailServerUnavailable(f"The mail server answered {code}.")


KIND = Kind(
    name="email",
    description="Sends one message to one address.",
    input=MailInput,
    run=run,
    errors_in=errors_in,
    scopes=frozenset({"email:send"}),
    timeout_s=60,
    max_attempts=8,
)
