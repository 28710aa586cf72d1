"""email: one message to one address, handed to the SMTP server.

A repeated attempt sends the same Message-ID, so that mail systems and people recognize the duplicate.
"""

from email.message import EmailMessage
from email.utils import format_datetime
from typing import Annotated

import aiosmtplib
import orjson
from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, ConfigDict, Field

from shared.web.json_input import Input
from tasks_service.kinds.kind import Kind, Running
from tasks_service.kinds.problems import MailRefused, MailServerUnavailable


def _address(value: str) -> str:
    """An address as it goes into a header and an envelope: ASCII, the domain in its IDNA form."""
    try:
        found = validate_email(value, check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError:
        raise ValueError("must be a mail address such as ann@example.com") from None
    return found.ascii_email or found.normalized


def _one_line(value: str) -> str:
    """Refuse every character that could begin another header (RFC 5322, section 2.2)."""
    if any(character < " " or character in "\x7f\x85\u2028\u2029" for character in value):
        raise ValueError("must be one line without control characters")
    return value


class MailInput(Input):
    model_config = ConfigDict(
        json_schema_extra={"example": {"to": "ann@example.com", "subject": "Ahoy", "text": "The fleet is in."}}
    )

    to: Annotated[str, Field(min_length=3, max_length=254), AfterValidator(_address)]
    subject: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)]
    text: Annotated[str, Field(max_length=200_000)]
    html: Annotated[str, Field(max_length=500_000)] | None = None


async def run(given: MailInput, job: Running) -> bytes:
    message = _message(given, job)
    job.progress(10, "handing over")
    await job.confirm()
    await _send(message, job)
    return orjson.dumps({"message_id": message["Message-ID"], "to": given.to})


def _message(given: MailInput, job: Running) -> EmailMessage:
    smtp = job.settings.smtp
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = smtp.sender, given.to, given.subject
    message["Message-ID"] = f"<{job.job_id}@{smtp.message_id_domain}>"
    message["Date"] = format_datetime(job.created_at)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: prevents automatic replies
    message.set_content(given.text)
    if given.html is not None:
        message.add_alternative(given.html, subtype="html")
    return message


async def _send(message: EmailMessage, job: Running) -> None:
    smtp = job.settings.smtp
    try:
        await aiosmtplib.send(
            message,
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
    except aiosmtplib.SMTPDataError as error:
        raise _refusal(error.code) from error
    except (aiosmtplib.SMTPException, OSError) as error:
        # Its greeting, our sign-in, our sender: none of it is the message's fault.
        raise MailServerUnavailable from error


def _refusal(code: int) -> MailRefused | MailServerUnavailable:
    """5xx is for good, 4xx for now (RFC 5321, section 4.2.1). The server's words may name people: not repeated."""
    return MailRefused(f"The mail server answered {code}.") if code >= 500 else MailServerUnavailable()


KIND = Kind(
    name="email",
    description="Sends one message to one address.",
    input=MailInput,
    run=run,
    scopes=frozenset({"email:send"}),
    timeout_s=60,
    max_attempts=8,
)
