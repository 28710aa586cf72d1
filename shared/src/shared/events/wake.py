"""Tells the relay of this process that a transaction with events committed, so that it need not wait for its poll."""

import asyncio
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.orm import Session

from shared.data.database import TenantSession

_waiting: "WeakSet[asyncio.Event]" = WeakSet()
_ADDED = "outbox_added"


def waker() -> asyncio.Event:
    """An event that is set at each commit of this process that published something; forgotten with its last holder."""
    made = asyncio.Event()
    _waiting.add(made)
    return made


def mark(session: Session) -> None:
    """Remember that the session's transaction publishes."""
    session.info[_ADDED] = True


@event.listens_for(TenantSession, "after_commit")
def _committed(session: Session) -> None:
    if session.info.pop(_ADDED, False):
        for one in tuple(_waiting):
            one.set()
