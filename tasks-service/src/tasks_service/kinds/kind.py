"""What a kind of job is, and what it is given while it runs."""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from shared.field_errors import FieldError
from shared.web.json_input import Input
from tasks_service.settings import TasksSettings


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A person's file, copied to this machine for the length of an attempt."""

    path: Path
    name: str
    content_type: str
    size_bytes: int


class Running(Protocol):
    """A running attempt, as its kind sees it."""

    @property
    def job_id(self) -> UUID: ...

    @property
    def created_at(self) -> datetime: ...

    @property
    def settings(self) -> TasksSettings: ...

    def progress(self, percent: float, message: str | None = None) -> None:
        """Say how far the job is. Cheap: what comes too often is left out."""

    async def confirm(self) -> None:
        """Make sure that the attempt still holds its lease, right before an effect outside of the database.

        Raises LeaseLost, which the kind lets pass.
        """

    async def compute(self, function: Callable[..., bytes], **arguments: Any) -> bytes:
        """Run a module-level function of kinds/ in a child process, with JSON values as arguments and a Report first.

        The child is killed when the attempt is cancelled or too slow. Raises the Problem that the function raised, or
        ChildDied.
        """

    def file(self, file_id: UUID) -> AbstractAsyncContextManager[LocalFile]:
        """The file, fetched as the job's owner. Raises FileNotFound for one that they may not see."""


Run = Callable[[Any, Running], Awaitable[bytes]]
"""Does the work on a checked input; the result as JSON."""


def _nothing_more(_input: Any) -> frozenset[str]:
    return frozenset()


def _no_errors(_input: Any, _settings: TasksSettings) -> Iterable[FieldError]:
    return ()


@dataclass(frozen=True)
class Kind:
    """A kind of job.

    It fails for good by raising a Problem below 500; anything else is tried again until `max_attempts` are used up. So
    `run` must be fit to be repeated: a worker may die after the work and before its end was stored.
    """

    name: str
    description: str
    input: type[Input]
    run: Run
    scopes: frozenset[str] = frozenset()
    """What the owner needs besides jobs:write, at submit and whenever an attempt starts."""
    needs_for: Callable[[Any], frozenset[str]] = _nothing_more
    """What some inputs need on top."""
    errors_in: Callable[[Any, TasksSettings], Iterable[FieldError]] = _no_errors
    """What the settings refuse, at submit, in an input that is valid otherwise."""
    timeout_s: float = 60
    max_attempts: int = 3

    def scopes_for(self, checked_input: Any) -> frozenset[str]:
        return self.scopes | self.needs_for(checked_input)
