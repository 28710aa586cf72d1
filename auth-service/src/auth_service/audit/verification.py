"""Verifying the audit trail: every event is there, unchanged, in its place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit.chain import chain_hash, content_hash
from auth_service.audit.models import AuditChain, SecurityEvent
from shared.data.database import Database

_BATCH: Final = 1000
_BACKDATED: Final = timedelta(hours=1)  # no transaction is open for longer


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain at some time, as the hourly log line has it."""

    seq: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash.hex()}"


@dataclass(frozen=True, slots=True)
class Break:
    """Where the trail was tampered with, and how that shows."""

    seq: int
    event_id: UUID | None
    reason: str


@dataclass
class Verification:
    """What a verification has found."""

    checkpoint: Head
    head: Head
    waiting: int
    verified: int = 0
    erased: int = 0
    breaks: list[Break] = field(default_factory=list)


async def verify(database: Database, exported: Head | None = None) -> Verification:
    """Verify the whole trail as it is now, and that it still has the head that was exported earlier."""
    async with database.transaction() as db:
        await db.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        found = await _begin(db)
        check = _Check(found, await _erased_people(db), exported)
        while events := await batch(db, check.last.seq):
            for event in events:
                found.breaks += check.next(event)
            db.expunge_all()
        found.breaks += check.end()
    return found


async def batch(db: AsyncSession, after: int) -> Sequence[SecurityEvent]:
    """The next chained events behind the sequence number `after`, in order; none at the end."""
    rows = select(SecurityEvent).where(SecurityEvent.seq > after).order_by(SecurityEvent.seq).limit(_BATCH)
    return (await db.scalars(rows)).all()


async def _begin(db: AsyncSession) -> Verification:
    chain = (await db.scalars(select(AuditChain))).one()
    waiting = await db.scalar(select(func.count()).where(SecurityEvent.seq.is_(None)))
    return Verification(
        Head(chain.checkpoint_seq, chain.checkpoint_hash), Head(chain.head_seq, chain.head_hash), waiting or 0
    )


async def _erased_people(db: AsyncSession) -> frozenset[UUID]:
    rows = select(SecurityEvent.account_id).where(SecurityEvent.kind == "audit_trail_erased")
    return frozenset(found for found in await db.scalars(rows) if found is not None)


@dataclass
class _Check:
    """Compares each event with the one before it."""

    found: Verification
    erased_people: frozenset[UUID]
    exported: Head | None
    last: Head = field(init=False)
    newest: datetime | None = None

    def __post_init__(self) -> None:
        self.last = self.found.checkpoint

    def next(self, event: SecurityEvent) -> Iterator[Break]:
        """What is wrong with the next event. After a break the next event is compared with what is stored."""
        seq = event.seq or 0
        if seq != self.last.seq + 1:
            yield Break(self.last.seq + 1, None, f"the events {self.last.seq + 1} to {seq - 1} are missing")
        elif event.chain_hash != chain_hash(self.last.hash, event):
            yield Break(seq, event.id, "it was changed, or it does not belong after the event before it")
        for reason in self._of_content(event):
            yield Break(seq, event.id, reason)
        if self.newest is not None and event.created_at < self.newest - _BACKDATED:
            yield Break(seq, event.id, "its time is before that of earlier events: it was added later")
        self.newest = max(self.newest or event.created_at, event.created_at)
        self.last = Head(seq, event.chain_hash or b"")
        self.found.verified += 1
        yield from self._of_exported(event.id)

    def end(self) -> Iterator[Break]:
        """What is wrong with the end of the trail."""
        head = self.found.head
        if self.last.seq < head.seq:
            yield Break(self.last.seq + 1, None, f"the events {self.last.seq + 1} to {head.seq} are missing")
        elif self.last != head:
            yield Break(self.last.seq, None, f"the recorded head is {head}")
        if self.exported is not None and self.exported.seq > self.last.seq:
            yield Break(self.exported.seq, None, "the trail ends before the exported head")

    def _of_content(self, event: SecurityEvent) -> Iterator[str]:
        if event.salt is not None:
            if event.content_hash != content_hash(event):
                yield "its address or details were changed"
            return
        self.found.erased += 1
        if event.address is not None or event.details:
            yield "its address or details were changed after they had been erased"
        if self.erased_people.isdisjoint((event.account_id, event.actor_id)):
            yield "its address and details were wiped, and no erasure of the person is recorded"

    def _of_exported(self, event_id: UUID) -> Iterator[Break]:
        if self.exported is not None and self.exported.seq == self.last.seq and self.exported != self.last:
            yield Break(self.last.seq, event_id, "its hash is not the exported one: the trail was rewritten")
