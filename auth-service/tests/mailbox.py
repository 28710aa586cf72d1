"""What the service mailed, and the links in it."""

import re
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from urllib.parse import parse_qs, urlsplit

from shared.testing import eventually
from shared.testing.smtp_script import SmtpScript


@dataclass(frozen=True)
class Mailbox:
    script: SmtpScript

    @property
    def mails(self) -> list[EmailMessage]:
        """Everything that arrived, oldest first."""
        parsed = [message_from_bytes(raw, policy=policy.default) for raw in self.script.messages]
        return [mail for mail in parsed if isinstance(mail, EmailMessage)]

    async def received(self, number: int) -> EmailMessage:
        """The mail that arrived as the `number`th."""
        await eventually(lambda: len(self.mails) >= number)
        assert len(self.mails) == number
        return self.mails[-1]


def text_of(mail: EmailMessage) -> str:
    return str(mail.get_content())


def link_in(mail: EmailMessage) -> str:
    [link] = re.findall(r"https?://\S+", text_of(mail))
    return str(link)


def token_in(mail: EmailMessage) -> str:
    """The token of the link in the mail."""
    [token] = parse_qs(urlsplit(link_in(mail)).query)["token"]
    return token
