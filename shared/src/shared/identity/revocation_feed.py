"""A revocation feed's side of following it: a request is held while nothing changes.

    follower  GET /internal/revocations?after=…             →  a page and its mark, at once
              GET /internal/revocations?after=…&seen=mark   →  the next page once there may be news, in 5 s at most

A mark is this process and the number of NOTIFYs that it has heard, taken before the page is read: a row that the page
does not show yet commits after the mark, and its NOTIFY makes it an old one. A request is held only while it brings the
current mark and the LISTEN connection is known to live. Without one of them, and so at a follower of an earlier
release, each request is answered at once. A held request ends in a real read too, so a NOTIFY decides only when.
"""

import asyncio
import random
import time
from typing import Annotated, Final

from fastapi import Depends, Query, Request

from shared.background.listen_notify import Listener
from shared.data.database import Database
from shared.identity.revocation_entries import HOLD_S, MARK_CHARS
from shared.ids import new_id
from shared.resources import resource

CHANNEL: Final = "revocations"
_ALIVE_S: Final = 0.75  # a silent server is noticed within 1.5 s, so that revocations stay within 2 s


class RevocationFeed:
    """Knows when a service's revocations may have changed. `run` is its background work."""

    def __init__(self, database: Database, service: str) -> None:
        self._listener = Listener(database, service, (CHANNEL,), alive_s=_ALIVE_S)
        self._instance, self._heard = new_id().hex, 0
        self._news = asyncio.Event()
        self._ending = False
        self.held = 0
        """How many requests wait now."""

    async def run(self) -> None:
        """Listen until cancelled, over any outage of the database."""
        with self._listener.waking(self._on_news, CHANNEL):
            await self._listener.listening.run()

    @property
    def listening(self) -> bool:
        """Whether news are heard. A request that comes while they are not is answered at once."""
        return self._listener.connected

    def end(self) -> None:
        """Let every held request go, and hold none from now on: the process drains."""
        self._ending = True
        self._news.set()

    async def mark(self, seen: str | None) -> str:
        """The mark of a page that is read from now on, after holding a request that has seen the current one."""
        if seen == self._mark and self.listening and not self._ending:
            self.held += 1
            try:
                async with asyncio.timeout(HOLD_S * random.uniform(0.8, 1)):  # noqa: S311 - spreads load
                    await self._news.wait()
            except TimeoutError:
                pass  # nothing was heard; the page is read all the same
            finally:
                self.held -= 1
        return self._mark

    @property
    def _mark(self) -> str:
        return f"{self._instance}-{self._heard}"

    def _on_news(self) -> None:
        self._heard += 1
        self._news.set()
        self._news = asyncio.Event()


async def _mark(
    request: Request,
    feed: Annotated[RevocationFeed, resource(RevocationFeed)],
    seen: Annotated[
        str | None, Query(max_length=MARK_CHARS, description="`mark` of the answer before: wait for news, up to 5 s.")
    ] = None,
) -> str:
    began = time.perf_counter()
    mark = await feed.mark(seen)
    request.state.held_s = time.perf_counter() - began  # waiting is not work (web/requests.py)
    return mark


FeedMark = Annotated[str, Depends(_mark)]
"""Holds the request and is the mark of its answer. It comes before the session, which a held request does not take."""
