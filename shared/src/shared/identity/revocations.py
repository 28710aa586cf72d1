"""Which tokens have ended before their time: the feeds followed, held in memory, asked on every request.

Nothing stands between the databases and this set, so no cache that is flushed or filled can bring a token back.
"""

import asyncio
import heapq
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from prometheus_client import Counter, Gauge

from shared.background import Backoff, PollingLoop
from shared.identity.principal import Principal
from shared.identity.revocation_entries import HOLD_S, Entry, FeedPage, Key, UserEpoch, keys_of
from shared.identity.tokens import LEEWAY_S
from shared.problems import InvalidToken, Problem, ServiceUnavailable

FetchFeed = Callable[[str | None, str | None], Awaitable[FeedPage]]
"""Reads a feed from a cursor on (None: all of it); with the mark of the page before, once there may be news.

Fails by a Problem, OSError or ValueError.
"""

Reason = Literal["token", "session", "user", "membership", "tenant"]
Subscriber = Callable[[Sequence[Entry]], None]

_ANSWER_S: Final = 2.0
HELD_ANSWER_S: Final = HOLD_S + _ANSWER_S  # how long a held answer may take
_OUTAGES: Final = (Problem, OSError, ValueError)  # TimeoutError is an OSError, ValidationError a ValueError

FEED_FAILURES = Counter("flotilla_revocation_feed_failures_total", "Failed polls of a feed.", ["feed"])
FEED_HEARD = Gauge("flotilla_revocation_feed_heard_timestamp_seconds", "Time of a feed's last answer.", ["feed"])


@dataclass(frozen=True, slots=True)
class Ended:
    """Why a token counts no longer though it has not expired. `membership` and `tenant`: not by signing in again."""

    reason: Reason


class RevocationSet:
    """The entries that still end something. An entry goes once all that it ends has expired, so the set is bounded."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}
        self._expiries: list[tuple[int, Key]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def apply(self, entries: Iterable[Entry], now: float) -> list[Entry]:
        """Take in what a feed says now; the entries that were news. The overlap's repetitions are none."""
        return [entry for entry in entries if entry.expires_at + LEEWAY_S > now and self._put(entry)]

    def ended(self, principal: Principal) -> Ended | None:
        """Why the principal's token has ended; None while it counts."""
        if self._entries:
            for key in keys_of(principal):
                entry = self._entries.get(key)
                if entry is not None and entry.ends(principal):
                    return Ended(entry.kind)
        return None

    def forget_expired(self, now: float) -> None:
        """Let go of the entries whose last token has expired, with the leeway that verification grants."""
        while self._expiries and self._expiries[0][0] + LEEWAY_S <= now:
            _, key = heapq.heappop(self._expiries)
            entry = self._entries.get(key)
            if entry is not None and entry.expires_at + LEEWAY_S <= now:  # else it was renewed with a later expiry
                del self._entries[key]

    def _put(self, entry: Entry) -> bool:
        known = self._entries.get(entry.key)
        if known == entry:
            return False
        if isinstance(known, UserEpoch) and isinstance(entry, UserEpoch) and entry.epoch < known.epoch:
            return False  # an epoch only grows
        self._entries[entry.key] = entry
        if known is None or known.expires_at != entry.expires_at:
            heapq.heappush(self._expiries, (entry.expires_at, entry.key))
        return True


class Revocations:
    """Follows the feeds and says whose token has ended.

    `on_stale` decides about requests while a feed has not answered for `stale_after_s`: continue with the known
    entries, or refuse. Requests that are `fresh` are refused then in any case. `interval_s` is the pause between an
    answer and the next request.
    """

    def __init__(
        self,
        feeds: Mapping[str, FetchFeed],
        *,
        interval_s: float = 0.5,
        stale_after_s: float = 30.0,
        on_stale: Literal["go_on", "refuse"] = "go_on",
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._feeds, self._interval_s, self._stale_after_s, self._on_stale = feeds, interval_s, stale_after_s, on_stale
        self._clock, self._monotonic = clock, monotonic
        self._set = RevocationSet()
        self._waits = stale_after_s >= 3 * HOLD_S  # else the age of a held answer would pass for an outage
        self._seen: dict[str, tuple[str, str | None]] = {}
        """The cursor and the mark of each feed's last page."""
        self._heard_at: dict[str, float] = {}
        self._subscribers: list[Subscriber] = []

    @property
    def size(self) -> int:
        """How many entries are held. No `__len__`: an empty follower must not be falsy, or `or` replaces it."""
        return len(self._set)

    @property
    def loaded(self) -> bool:
        """Whether every feed was read once. A process is not ready before: a token that ended long ago would pass."""
        return self._heard_at.keys() == self._feeds.keys()

    @property
    def age_s(self) -> float:
        """The age of the oldest feed's last answer; infinite before all are loaded, 0 without feeds."""
        if not self.loaded:
            return float("inf")
        return max((self._monotonic() - heard_at for heard_at in self._heard_at.values()), default=0.0)

    @property
    def stale(self) -> bool:
        return self.age_s > self._stale_after_s

    def ended(self, principal: Principal) -> Ended | None:
        """Why the principal's token has ended; None while it counts."""
        return self._set.ended(principal)

    def admit(self, principal: Principal, *, fresh: bool = False) -> None:
        """Let the principal's request pass, or raise InvalidToken; ServiceUnavailable where stale news are not enough.

        `fresh` marks what must not be done by a token that may have ended: administration, passwords, keys.
        """
        if (ended := self.ended(principal)) is not None:
            raise InvalidToken(f"The token has ended: its {ended.reason} has ended or changed.")
        if (fresh or self._on_stale == "refuse") and self.stale:
            raise ServiceUnavailable("The token cannot be checked for revocation; try again later.", retry_after_s=5)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber` with every batch of new entries, at once; the function that comes back ends that.

        For holders of open connections: `entry.ends(principal)` says which to close. It must neither raise nor wait.
        """
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    async def run(self) -> None:
        """Follow every feed until cancelled; one that hangs does not delay another."""
        async with asyncio.TaskGroup() as group:
            for name in self._feeds:
                loop = PollingLoop(
                    f"revocations {name}",
                    partial(self.poll, name),
                    every_s=self._interval_s,
                    backoff=Backoff(self._interval_s, self._interval_s),
                    outages=_OUTAGES,
                )
                group.create_task(loop.run(), name=loop.name)

    async def poll(self, name: str) -> None:
        """Ask one feed once. Raises Problem, OSError or ValueError, with everything as it was, if no answer is usable.

        A feed that holds the request is heard as of the request, so the age of its news is never understated.
        """
        asked_at = self._monotonic()
        after, seen = self._seen.get(name, (None, None))
        try:
            async with asyncio.timeout(_ANSWER_S if seen is None else HELD_ANSWER_S):
                page = await self._feeds[name](after, seen)
        except _OUTAGES:
            FEED_FAILURES.labels(name).inc()
            raise
        self._take(page)
        self._seen[name] = page.next, page.mark if self._waits else None
        self._heard_at[name] = asked_at
        FEED_HEARD.labels(name).set(self._clock())

    def _take(self, page: FeedPage) -> None:
        now = self._clock()
        self._set.forget_expired(now)
        if news := self._set.apply(page.entries, now):
            for subscriber in tuple(self._subscribers):
                subscriber(news)
