"""Who is present in one room, put together from this replica's connections and the others' entries."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

ABSENT_S: Final = 1.5
"""How long an entry of another replica must be missing; a flushed entry is back within a second."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A person came or left."""

    user_id: UUID
    username: str
    joined: bool


@dataclass
class RoomPresence:
    """`here` counts this replica's subscriptions by person; `leaving` are those in their grace, until when."""

    names: dict[UUID, str] = field(default_factory=dict)
    here: dict[UUID, int] = field(default_factory=dict)
    leaving: dict[UUID, float] = field(default_factory=dict)
    elsewhere: set[UUID] = field(default_factory=set)
    shown: set[UUID] = field(default_factory=set)
    missing_since: dict[UUID, float] = field(default_factory=dict)
    primed: bool = False

    def join(self, user_id: UUID, username: str) -> None:
        self.names[user_id] = username
        self.here[user_id] = self.here.get(user_id, 0) + 1
        self.leaving.pop(user_id, None)

    def leave(self, user_id: UUID, until: float) -> bool:
        """One subscription less; whether it was the person's last here, who is then shown until `until`."""
        left = self.here.get(user_id, 0) - 1
        if left > 0:
            self.here[user_id] = left
            return False
        self.here.pop(user_id, None)
        self.leaving[user_id] = until
        return True

    def seen_elsewhere(self, people: Mapping[UUID, str]) -> None:
        """What the other replicas say now."""
        self.names |= people
        self.elsewhere = set(people)

    def changes(self, now: float) -> Iterator[Changed]:
        """The changes since the last call. The first call reports none, because nothing was shown before."""
        self.leaving = {user_id: until for user_id, until in self.leaving.items() if until > now}
        present = self.here.keys() | self.leaving.keys() | self.elsewhere
        if not self.primed:
            self.primed, self.shown = True, present - self.here.keys()
        for user_id in present - self.shown:
            yield Changed(user_id, self.names[user_id], joined=True)
        gone = self._gone(self.shown - present, now)
        for user_id in gone:
            yield Changed(user_id, self.names.pop(user_id), joined=False)
        self.shown = (self.shown | present) - set(gone)

    def _gone(self, absent: Iterable[UUID], now: float) -> list[UUID]:
        self.missing_since = {user_id: self.missing_since.get(user_id, now) for user_id in absent}
        return [user_id for user_id, since in self.missing_since.items() if now - since >= ABSENT_S]

    @property
    def empty(self) -> bool:
        """Whether no person is connected here any longer, so that changes need not be reported."""
        return not self.here and not self.leaving
