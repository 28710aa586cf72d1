"""Sends the queued mails: at least once, and the same Message-ID each time."""

import asyncio
from typing import Final

import structlog
from sqlalchemy import select

from auth_service.keyring import CannotDecrypt, Keyring
from auth_service.mails import service
from auth_service.mails.service import Claimed
from shared.background import Backoff, PollingLoop, Progress
from shared.data.database import Database
from shared.mail.message import Mail
from shared.mail.settings import SmtpSettings
from shared.mail.smtp import MailRefused, MailServerUnavailable, send

_AT_ONCE: Final = 10
_POLL_S: Final = 5.0  # finds the mails of a replica that died, and those that are due again
_BACKOFF: Final = Backoff(first_s=2, most_s=120)

log = structlog.get_logger()


class MailSender:
    def __init__(self, database: Database, keyring: Keyring, smtp: SmtpSettings) -> None:
        self._database, self._keyring, self._smtp = database, keyring, smtp
        self._unavailable = False
        self.sending = PollingLoop("mails", self._send_due, every_s=_POLL_S, due=self._due)
        """Background work: sends what is due, when woken or every few seconds."""

    async def _due(self) -> bool:
        return await self._database.finds(select(service.unsent()))

    async def _send_due(self) -> Progress:
        async with self._database.transaction() as db:
            claimed = await service.claim(db, _AT_ONCE, lease_s=2 * self._smtp.timeout_s)
        await asyncio.gather(*(self._send(mail) for mail in claimed))
        return Progress.MORE if len(claimed) == _AT_ONCE else Progress.IDLE

    async def _send(self, mail: Claimed) -> None:
        try:
            await send(self._composed(mail), self._smtp)
        except (MailRefused, CannotDecrypt) as error:
            log.warning("mail_refused", purpose=mail.purpose, reason=str(error))
            async with self._database.transaction() as db:
                await service.finish(db, mail, sent=False)
        except MailServerUnavailable as error:
            self._note_outage(error)
            async with self._database.transaction() as db:
                await service.postpone(db, mail, _BACKOFF.wait_s(mail.attempts - 1))
        else:
            self._note_outage(None)
            async with self._database.transaction() as db:
                await service.finish(db, mail, sent=True)

    def _composed(self, mail: Claimed) -> Mail:
        content = service.unsealed(self._keyring, mail)
        return Mail(
            sender=self._smtp.sender,
            to=content.to,
            subject=content.subject,
            text=content.text,
            html=None,
            message_id=f"<{mail.id}@{self._smtp.message_id_domain}>",
            date=mail.created_at,
        )

    def _note_outage(self, error: MailServerUnavailable | None) -> None:
        if error is not None and not self._unavailable:
            log.warning("mail_server_unavailable", reason=str(error))
        if error is None and self._unavailable:
            log.info("mail_server_recovered")
        self._unavailable = error is not None
