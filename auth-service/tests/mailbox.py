"""What the service mailed, and the links in it."""

import re
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from shared.ids import new_id
from shared.testing import eventually
from shared.testing.smtp_script import SmtpScript


@dataclass(frozen=True)
class Mailbox:
    script: SmtpScript
    since: UUID = field(default_factory=new_id)

    @property
    def mails(self) -> list[EmailMessage]:
        """Everything that arrived, oldest first, without what a process still sent for an earlier test."""
        parsed = [message_from_bytes(raw, policy=policy.default) for raw in self.script.messages]
        return [mail for mail in parsed if isinstance(mail, EmailMessage) and _id_of(mail) > self.since]

    async def received(self, number: int) -> EmailMessage:
        """The mail that arrived as the `number`th."""
        await eventually(lambda: len(self.mails) >= number)
        assert len(self.mails) == number
        return self.mails[-1]


def _id_of(mail: EmailMessage) -> UUID:
    """The id under which the service queued it: ids are in the order of their times (UUIDv7)."""
    return UUID(mail["Message-ID"].strip("<>").partition("@")[0])


def text_of(mail: EmailMessage) -> str:
    return str(mail.get_content())


def link_in(mail: EmailMessage) -> str:
    [link] = re.findall(r"https?://\S+", text_of(mail))
    return str(link)


def token_in(mail: EmailMessage) -> str:
    """The token of the link in the mail."""
    [token] = parse_qs(urlsplit(link_in(mail)).query)["token"]
    return token
