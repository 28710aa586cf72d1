"""The hash chain over the audit trail: what was recorded can be erased or expire, but not be changed unnoticed.

    content_hash = SHA-256(salt ‖ {"address", "details"})
    digest       = SHA-256({"account_id", "actor_id", "content_hash", "created_at", "id", "kind", "session_id",
                            "tenant_id"})
    chain_hash   = SHA-256(chain_hash of the event before ‖ digest)

{…} is JSON in UTF-8 with sorted keys and without spaces; ids as text, hashes as lower-case hex, times in UTC with six
decimals and `Z`, absent values null. Each event has 32 random bytes as its salt, so a content hash reveals nothing once
the salt is wiped. The first event follows 32 zero bytes.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, Exists, and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit.models import AuditChain, SecurityEvent

HASH_BYTES: Final = 32


def content_hash(event: SecurityEvent) -> bytes:
    """The salted hash of what an erasure wipes."""
    content = {"address": event.address, "details": event.details}
    return hashlib.sha256((event.salt or b"") + _json(content)).digest()


def chain_hash(previous: bytes, event: SecurityEvent) -> bytes:
    """The event's hash in the chain, after the one that has the hash `previous`; it covers the stored content hash."""
    covered = {
        "account_id": _text(event.account_id),
        "actor_id": _text(event.actor_id),
        "content_hash": event.content_hash.hex() if event.content_hash else None,
        "created_at": shown(event.created_at),
        "id": _text(event.id),
        "kind": event.kind,
        "session_id": _text(event.session_id),
        "tenant_id": _text(event.tenant_id),
    }
    return hashlib.sha256(previous + hashlib.sha256(_json(covered)).digest()).digest()


def unchained() -> Exists:
    """Whether an event waits to be chained."""
    return exists().where(SecurityEvent.seq.is_(None))


async def append(db: AsyncSession, most: int) -> int:
    """Chain at most `most` events in the order of their times; returns their number.

    The chain's row is locked until the transaction ends, so each event gets one place however many replicas try.
    """
    chain = (await db.scalars(select(AuditChain).with_for_update())).one()
    waiting = select(SecurityEvent).where(SecurityEvent.seq.is_(None))
    order = (SecurityEvent.created_at, SecurityEvent.id)
    events = (await db.scalars(waiting.order_by(*order).limit(most))).all()
    for event in events:
        event.content_hash = event.content_hash or content_hash(event)
        chain.head_hash = chain_hash(chain.head_hash, event)
        chain.head_seq += 1
        event.seq, event.chain_hash = chain.head_seq, chain.head_hash
    await db.flush()
    return len(events)


async def claim_export(db: AsyncSession, every_s: float) -> tuple[int, str] | None:
    """The head of the chain (sequence and hash in hex), if it was not exported for `every_s` seconds; else None."""
    chain = (await db.scalars(select(AuditChain).where(_export_due(every_s)).with_for_update())).one_or_none()
    if chain is None:
        return None
    chain.exported_at = func.now()
    return chain.head_seq, chain.head_hash.hex()


def export_due(every_s: float) -> Exists:
    """Whether the head was not exported for `every_s` seconds."""
    return exists().where(_export_due(every_s))


def shown(time: datetime) -> str:
    """A time as the digest covers it."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _export_due(every_s: float) -> ColumnElement[bool]:
    before = func.now() - timedelta(seconds=every_s)
    return and_(AuditChain.head_seq > 0, or_(AuditChain.exported_at.is_(None), AuditChain.exported_at <= before))


def _json(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
