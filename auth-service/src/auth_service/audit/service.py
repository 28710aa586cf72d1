"""Writing the audit trail in the transaction of the event; reading it, erasing people from it, deleting old events."""

from collections.abc import Collection, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, column, exists, false, func, not_, or_, select, table, true
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit.chain import content_hash
from auth_service.audit.kinds import Kind
from auth_service.audit.models import SecurityEvent
from auth_service.audit.schemas import AuditQuery
from shared.identity import Principal
from shared.identity.principal import OWN_SIGN_IN
from shared.web.paging import by_cursor

ALL_TENANTS = "system:read"
OWN_TENANT = "admin:read"

_sessions: Final = table("sessions", column("id"), column("confined"))  # by name: sessions write this trail


def record(
    db: AsyncSession,
    kind: Kind,
    *,
    account_id: UUID | None = None,
    actor_id: UUID | None = None,
    session_id: UUID | None = None,
    tenant_id: UUID | None = None,
    address: str | None = None,
    **details: Any,
) -> None:
    """Add one event; `details` are ids, names and reasons, never anything secret.

    `actor_id` is the person who did it, where that is not the account's own person. People stand in the ids only:
    erasing a person wipes `address` and `details`, and keeps the ids.
    """
    db.add(
        SecurityEvent(
            kind=kind,
            account_id=account_id,
            actor_id=actor_id,
            session_id=session_id,
            tenant_id=tenant_id,
            address=address,
            details=details,
        )
    )


async def page(db: AsyncSession, user: Principal, query: AuditQuery) -> tuple[Sequence[SecurityEvent], str | None]:
    """The events that the person may see, and the cursor of the next page; None at the end.

    Everybody sees their own by a sign-in of their own, an admin those of the tenant that they act in too, an operator
    all. An OAuth client needs one of these scopes: a person's own trail says where they are. A session that is confined
    to a tenant sees the person's own events there alone.
    """
    rows = select(SecurityEvent).where(_visible_to(user))
    if query.kind:
        rows = rows.where(SecurityEvent.kind.in_(query.kind))
    if query.account_id is not None:
        rows = rows.where(SecurityEvent.account_id == query.account_id)
    if query.session_id is not None:
        rows = rows.where(SecurityEvent.session_id == query.session_id)
    sortable = {"created_at": SecurityEvent.created_at}
    return await by_cursor(db, rows, query, sortable, SecurityEvent.id, within=user.user_id)


async def erase(db: AsyncSession, account_id: UUID) -> int:
    """Wipe address and details of every event about the person or by them; returns the number of events.

    The chain stays verifiable: it has their salted hashes, and without the salt nothing can be guessed from these. That
    it was done is an event itself, without which a wiped event counts as tampered with.
    """
    theirs = or_(SecurityEvent.account_id == account_id, SecurityEvent.actor_id == account_id)
    rows = select(SecurityEvent).where(theirs, SecurityEvent.salt.is_not(None)).with_for_update()
    events: Collection[SecurityEvent] = (await db.scalars(rows)).all()
    for event in events:
        event.content_hash = event.content_hash or content_hash(event)
        event.address, event.details, event.salt = None, {}, None
    record(db, "audit_trail_erased", account_id=account_id, events=len(events))
    return len(events)


async def prune(db: AsyncSession, kept_days: int) -> None:
    """Delete what is older than the trail is kept, the oldest first; the owner's function leaves a checkpoint."""
    await db.execute(select(func.prune_security_events(kept_days)))


def _visible_to(user: Principal) -> ColumnElement[bool]:
    if ALL_TENANTS in user.scopes:
        return true()
    own = _own(user) if user.client_id == OWN_SIGN_IN else false()
    if OWN_TENANT in user.scopes and user.tenant_id is not None:
        return or_(own, SecurityEvent.tenant_id == user.tenant_id)
    return own


def _own(user: Principal) -> ColumnElement[bool]:
    confined = exists().where(_sessions.c.id == user.session_id, _sessions.c.confined)
    return and_(
        SecurityEvent.account_id == user.user_id, or_(not_(confined), SecurityEvent.tenant_id == user.tenant_id)
    )
