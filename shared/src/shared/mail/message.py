"""A mail as bytes for the wire, in which every value arrives as it was written.

email.policy parses what is assigned to a header, and so decodes an encoded word (RFC 2047) in it, line ends included;
in Python 3.11 it also loses spaces where it folds a header that is not ASCII. Free text is therefore encoded by
email.header, which does neither.
"""

from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.headerregistry import BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import format_datetime
from typing import Any, Final

LINE_LENGTH: Final = 76  # an encoded word is on one line of at most so many characters (RFC 2047, section 2)


class LiteralHeader(UnstructuredHeader, BaseHeader):
    """A header whose text is what was assigned: nothing in it is decoded."""

    max_count = 1

    @classmethod
    def parse(cls, value: str, kwds: dict[str, Any]) -> None:
        kwds["parse_tree"] = cls.value_parser("")
        kwds["decoded"] = value

    def fold(self, *, policy: Policy) -> str:
        line = f"{self.name}: {self}"
        if line.isascii() and "=?" not in line and len(line) <= LINE_LENGTH:
            return line + policy.linesep
        encoded = Header(str(self), "utf-8", header_name=self.name, maxlinelen=LINE_LENGTH)
        return f"{self.name}: {encoded.encode(linesep=policy.linesep)}{policy.linesep}"


_REGISTRY: Final = HeaderRegistry()
_REGISTRY.map_to_type("subject", LiteralHeader)
_POLICY: Final = SMTP.clone(header_factory=_REGISTRY, cte_type="7bit")  # not every server on the way takes 8 bits


@dataclass(frozen=True)
class Mail:
    """One message to one address."""

    sender: str
    to: str
    subject: str
    text: str
    html: str | None
    message_id: str
    date: datetime


def composed(mail: Mail) -> bytes:
    """The message with CRLF line ends and ASCII only (RFC 5322)."""
    message = EmailMessage(policy=_POLICY)
    message["From"], message["To"], message["Subject"] = mail.sender, mail.to, mail.subject
    message["Message-ID"] = mail.message_id
    message["Date"] = format_datetime(mail.date)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: prevents automatic replies
    message.set_content(mail.text)
    if mail.html is not None:
        message.add_alternative(mail.html, subtype="html")
    return message.as_bytes()
