"""email: one message to one address, handed to the SMTP server.

A repeated attempt sends the same Message-ID, so that mail systems and people recognize the duplicate.
"""

from collections.abc import Iterator
from typing import Annotated

import orjson
from pydantic import AfterValidator, ConfigDict, Field

from shared.email_addresses import domain_errors, mailable
from shared.field_errors import FieldError
from shared.mail.message import Mail
from shared.mail.smtp import send
from shared.text import NAME
from shared.web.json_input import Input
from tasks_service.kinds.kind import Kind, Running
from tasks_service.settings import TasksSettings


class MailInput(Input):
    model_config = ConfigDict(
        json_schema_extra={"example": {"to": "ann@example.com", "subject": "Ahoy", "text": "The fleet is in."}}
    )

    to: Annotated[str, Field(min_length=3, max_length=254), AfterValidator(mailable)]
    subject: Annotated[str, Field(min_length=1, max_length=200), NAME]
    text: Annotated[str, Field(max_length=200_000)]
    html: Annotated[str, Field(max_length=500_000)] | None = None


async def run(given: MailInput, job: Running) -> bytes:
    mail = _mail(given, job)
    job.progress(10, "handing over")
    await job.confirm()
    await send(mail, job.settings.smtp)
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
