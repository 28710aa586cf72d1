"""Delivers the queued notices: at least once, with the same `jti` each time."""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

import structlog
from sqlalchemy import select

from auth_service.backchannel_logout import service
from auth_service.backchannel_logout.service import Claimed
from auth_service.signing_keys.active_key import ActiveKey
from shared.background import Backoff, PollingLoop
from shared.data.database import Database
from shared.identity.tokens import sign
from shared.outbound import TIMEOUT_S, AddressRefused, Outbound, OutboundError
from shared.problems import ServiceUnavailable

EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
TOKEN_TTL_S: Final = 120  # section 4 of the specification
_TYP: Final = "logout+jwt"
MOST_AT_ONCE: Final = 20
MOST_PER_CLIENT: Final = 4  # a receiver that does not answer has no more of the deliveries at once
_POLL_S: Final = 5.0  # finds the notices of a replica that died, and those that are due again
_BACKOFF: Final = Backoff(first_s=2, most_s=600)
_MAX_ANSWER_BYTES: Final = 16 * 1024  # the status alone counts
_LATER: Final = frozenset({408, 425, 429})  # of the 4xx, those that another attempt may change

log = structlog.get_logger()


class LogoutSender:
    """Delivers to several clients at once; each delivery has a time limit (TIMEOUT_S), and ends for itself."""

    def __init__(self, database: Database, active_key: ActiveKey, outbound: Outbound, public_url: str) -> None:
        self._database, self._active_key = database, active_key
        self._outbound, self._public_url = outbound, public_url
        self._deliveries = asyncio.TaskGroup()
        self._under_way: Counter[UUID] = Counter()
        self.starting = PollingLoop("logout notices", self._start_due, every_s=_POLL_S, due=self._due)

    async def run(self) -> None:
        """Deliver what is due, when woken or every few seconds, until cancelled."""
        self._deliveries = asyncio.TaskGroup()
        async with self._deliveries:
            await self.starting.run()

    async def _due(self) -> bool:
        return await self._database.finds(select(service.due()))

    async def _start_due(self) -> None:
        """Begin as many deliveries as there is room for; the end of each wakes the loop."""
        room = MOST_AT_ONCE - self._under_way.total()
        if room <= 0:
            return
        async with self._database.transaction() as db:
            claimed = await service.claim(
                db, room, each=MOST_PER_CLIENT, besides=list(self._under_way), lease_s=2 * TIMEOUT_S
            )
        for notice in claimed:
            self._under_way[notice.client_id] += 1
            self._deliveries.create_task(self._deliver(notice))

    async def _deliver(self, notice: Claimed) -> None:
        try:
            with suppress(ServiceUnavailable):  # the notice is due again when its lease ends
                await self._send(notice)
        finally:
            self._under_way -= Counter([notice.client_id])
            self.starting.wake()

    async def _send(self, notice: Claimed) -> None:
        delivered, reason = await self._delivered(notice)
        if delivered is None:
            wait_s = _BACKOFF.wait_s(notice.attempts - 1)
            log.info("logout_notice_postponed", client_id=str(notice.client_id), reason=reason, wait_s=round(wait_s, 1))
            async with self._database.transaction() as db:
                await service.postpone(db, notice, wait_s)
            self.starting.wake_after(wait_s)
            return
        if not delivered:
            log.warning("logout_notice_refused", client_id=str(notice.client_id), reason=reason)
        async with self._database.transaction() as db:
            await service.finish(db, notice, delivered=delivered)

    async def _delivered(self, notice: Claimed) -> tuple[bool | None, str]:
        """Whether the client accepted the notice (section 2.8), and why not; None if it may later."""
        try:
            answer = await self._outbound.send(
                "POST",
                notice.url,
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                content=urlencode({"logout_token": self._token(notice)}).encode(),
                max_bytes=_MAX_ANSWER_BYTES,
            )
        except AddressRefused as error:
            return False, str(error)
        except OutboundError as error:
            return None, str(error)
        if 200 <= answer.status < 300:
            return True, ""
        later = answer.status >= 500 or answer.status in _LATER
        return None if later else False, f"status {answer.status}"

    def _token(self, notice: Claimed) -> str:
        """The logout token (section 2.4). Raises ServiceUnavailable before keys are loaded."""
        now = int(time.time())
        claims = {
            "iss": self._public_url,
            "aud": str(notice.client_id),
            "sub": str(notice.account_id),
            "sid": str(notice.sid),
            "iat": now,
            "exp": now + TOKEN_TTL_S,
            "jti": str(notice.id),
            "events": {EVENT: {}},
        }
        return sign(claims, self._active_key.id_token_key, typ=_TYP)
