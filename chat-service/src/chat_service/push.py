"""What is pushed once its transaction has committed: never before, and nothing where it rolls back.

A slice says what happened by `after_commit(db, …)`; the process's fan-out hears it, because it has put itself on the
engine that the session runs on. Where a process has none (a command, a migration) nobody is told, and whoever serves
the room finds it by comparing numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from shared.data.database import TenantSession

_OPTION: Final = "chat_push"  # of the engine: who is told
_WAITING: Final = "chat_push"  # of the session: what there is to tell


class Line(StrEnum):
    """What is numbered without gaps: a room's messages, a person's notifications in a tenant."""

    ROOM = "room"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class LineKey:
    line: Line
    tenant_id: UUID
    id: UUID


@dataclass(frozen=True, slots=True)
class Stored:
    """A row that has its number: the frame goes to whoever follows the line."""

    key: LineKey
    seq: int
    frame: Mapping[str, Any]


Tell = Callable[[Stored], None]


def after_commit(db: AsyncSession, stored: Stored) -> None:
    """Tell the process's fan-out of `stored` when `db` has committed."""
    db.info.setdefault(_WAITING, []).append(stored)


@event.listens_for(TenantSession, "after_commit")
def _tell(session: Session) -> None:
    waiting: list[Stored] = session.info.pop(_WAITING, [])
    if not waiting:
        return
    tell: Tell | None = session.get_bind().get_execution_options().get(_OPTION)
    if tell is not None:
        for stored in waiting:
            tell(stored)


def announce_to(engine: AsyncEngine, tell: Tell | None) -> None:
    """Let `tell` hear what is committed on `engine`; it must neither wait nor raise. None ends that."""
    engine.sync_engine.update_execution_options(**{_OPTION: tell})
