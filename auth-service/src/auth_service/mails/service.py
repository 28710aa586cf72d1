"""Queuing a mail in the transaction that it reports, and what the sender does with the queue.

A mail waits for an hour at most: a link that arrives later is of no use.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import orjson
import structlog
from prometheus_client import Counter
from sqlalchemy import Exists, delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.keyring import Keyring
from auth_service.mails.models import OutgoingMail
from auth_service.mails.texts import Purpose, texts, unlinked
from auth_service.settings import MailSettings
from auth_service.tenant_settings import shown_name
from shared.data.after_commit import announce
from shared.email_addresses import mailable
from shared.field_errors import FieldRule
from shared.ids import new_id
from shared.problems import InvalidInput, TooManyRequests

KEPT_S: Final = 3600
_WINDOW: Final = timedelta(seconds=KEPT_S)

# A mail about another person's account or about none counts like the one that was asked for: the limit reveals nothing.
_COUNTED_AS: Final[Mapping[Purpose, Purpose]] = {
    "address_in_use": "verify_email",
    "reactivate_unknown": "reactivate",
    "reset_password_unknown": "reset_password",
    "sign_in_link_unknown": "sign_in_link",
}

NOT_MAILABLE: Final = FieldRule("not_mailable", "Must be an address that mail can be sent to.")

MAILS = Counter("flotilla_auth_mails_total", "Mails by purpose and what became of them.", ["purpose", "outcome"])

log = structlog.get_logger()


class MailLimitReached(TooManyRequests):
    """The address was sent as many mails of this kind as it may get in an hour."""

    status, title = 429, "Too many mails to this address"
    remedy = "Look for the mails that were sent, in the spam folder too, or wait for the seconds in `Retry-After`."


class AddressUnmailable(InvalidInput):
    """No mail can be sent to the address: not every mail server transports its characters before the @."""

    status, title = 422, "No mail can be sent to this address"
    remedy = "Use an address with ASCII characters before the @."

    def __init__(self) -> None:
        super().__init__(errors=[NOT_MAILABLE.at("#/email")])


@dataclass(frozen=True, slots=True)
class Queued:
    """Announced when a mail was queued, to wake the sender of this process."""


@dataclass(frozen=True, slots=True)
class Content:
    """A mail as it is sent."""

    to: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """A mail that this process is to send now."""

    id: UUID
    purpose: str
    created_at: datetime
    attempts: int
    sealed: bytes


@dataclass(frozen=True)
class Mails:
    """Writes mails in one language, with the name and texts of a tenant if it has any."""

    keyring: Keyring
    settings: MailSettings
    language: str
    tenant_name: str | None = None
    intro: str | None = None
    footer: str | None = None

    def of(self, tenant_name: str | None, *, intro: str | None, footer: str | None) -> "Mails":
        """Mails with what a tenant has chosen."""
        return replace(self, tenant_name=tenant_name, intro=intro, footer=footer)

    def queue(
        self, db: AsyncSession, purpose: Purpose, to: str, mail_id: UUID | None = None, /, **values: object
    ) -> None:
        """Queue a mail; `values` are those of its text. It is sent once the transaction of `db` has committed.

        `mail_id` is its id, where the caller has chosen one. A notice to an address that mail cannot be sent to is
        logged instead.
        """
        try:
            address = mailable(to)
        except ValueError:
            MAILS.labels(purpose, "impossible").inc()
            log.warning("mail_impossible", purpose=purpose, reason="no mail can be sent to the address")
            return
        mail_id, text = mail_id or new_id(), texts(self.language)[purpose]
        product = shown_name(unlinked(self.tenant_name) if self.tenant_name else None, self.settings.product)
        shown = {"product": product, "time": _time_shown(), **values}
        body = self._with_texts(text.text.strip().format_map(shown))
        content = Content(address, text.subject.format_map(shown), body)
        sealed = self.keyring.encrypt(orjson.dumps(content), context=_context(mail_id))
        db.add(OutgoingMail(id=mail_id, purpose=purpose, recipient=self._recipient(to, purpose), sealed=sealed))
        announce(db, Queued())

    async def check_limit(self, db: AsyncSession, purpose: Purpose, to: str) -> None:
        """Raises MailLimitReached if an hour's mails for the purpose were sent to the address; AddressUnmailable.

        Concurrent requests for one address wait for each other until their transactions end.
        """
        try:
            mailable(to)
        except ValueError:
            raise AddressUnmailable from None
        recipient = self._recipient(to, purpose)
        await db.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(recipient.hex(), 0))))
        counted = (OutgoingMail.recipient == recipient, OutgoingMail.created_at > func.now() - _WINDOW)
        rows = select(func.count(), func.extract("epoch", func.min(OutgoingMail.created_at) - (func.now() - _WINDOW)))
        sent, wait_s = (await db.execute(rows.where(*counted))).one()
        if sent >= self.settings.per_address_and_hour:
            raise MailLimitReached(retry_after_s=max(1, int(wait_s)))

    def _with_texts(self, body: str) -> str:
        """The text of the mail between those of the tenant, which stand apart from it."""
        intro = f"{unlinked(self.intro)}\n\n" if self.intro else ""
        footer = f"\n-- \n{unlinked(self.footer)}\n" if self.footer else ""
        return f"{intro}{body}\n{footer}"

    def _recipient(self, to: str, purpose: Purpose) -> bytes:
        """Equal for equal addresses and kinds of mail."""
        kind = _COUNTED_AS.get(purpose, purpose)
        return self.keyring.current.mac("mail recipient", f"{kind} {to.casefold()}".encode())


def unsent() -> Exists:
    """Whether a mail is due: what the sender polls."""
    return exists().where(OutgoingMail.sealed.is_not(None), OutgoingMail.due_at <= func.now())


async def claim(db: AsyncSession, most: int, lease_s: float) -> Sequence[Claimed]:
    """At most `most` due mails, for this process alone until the lease ends; then they are due again."""
    due = (
        select(OutgoingMail.id)
        .where(OutgoingMail.sealed.is_not(None), OutgoingMail.due_at <= func.now())
        .order_by(OutgoingMail.due_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    changes = {"attempts": OutgoingMail.attempts + 1, "due_at": func.now() + timedelta(seconds=lease_s)}
    rows = await db.scalars(
        update(OutgoingMail).where(OutgoingMail.id.in_(due)).values(changes).returning(OutgoingMail)
    )
    return [Claimed(row.id, row.purpose, row.created_at, row.attempts, row.sealed or b"") for row in rows]


def unsealed(keyring: Keyring, mail: Claimed) -> Content:
    """The content of a claimed mail. Raises CannotDecrypt."""
    return Content(**orjson.loads(keyring.decrypt(mail.sealed, context=_context(mail.id))))


async def finish(db: AsyncSession, mail: Claimed, *, sent: bool) -> None:
    """Wipe the content of a mail that was sent or is given up."""
    sent_at = func.now() if sent else None
    await db.execute(update(OutgoingMail).where(OutgoingMail.id == mail.id).values(sealed=None, sent_at=sent_at))
    MAILS.labels(mail.purpose, "sent" if sent else "refused").inc()


async def postpone(db: AsyncSession, mail: Claimed, wait_s: float) -> None:
    """Let the mail be due again in `wait_s` seconds."""
    due_at = func.now() + timedelta(seconds=wait_s)
    await db.execute(update(OutgoingMail).where(OutgoingMail.id == mail.id).values(due_at=due_at))


async def prune(db: AsyncSession) -> None:
    """Delete mails after an hour, sent or not; those that were not sent are logged and counted."""
    old = delete(OutgoingMail).where(OutgoingMail.created_at < func.now() - _WINDOW)
    rows = (await db.execute(old.returning(OutgoingMail.purpose, OutgoingMail.sealed.is_not(None)))).all()
    for purpose, dropped in rows:
        if dropped:
            MAILS.labels(purpose, "dropped").inc()
            log.warning("mail_dropped", purpose=purpose, reason="not sent within an hour")


def _context(mail_id: UUID) -> str:
    return f"mail {mail_id}"


def _time_shown() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
