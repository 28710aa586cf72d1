"""What happens after a commit, and only then: wake the relay, push a message.

    after_commit(db, callback)          call `callback` once the transaction of `db` has committed
    announce(db, RoomRenamed(...))      hand a value to the listeners of its type in this process, after the commit

Listeners belong to a `Database` (`database.listen(RoomRenamed, …)`), so to one process. Other processes do not receive
them: whatever is announced must also be found by looking.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

T = TypeVar("T")
Callback = Callable[[], None]

_CALLBACKS: Final = "after_commit"
_LISTENERS: Final = "listeners"


class Listeners:
    """Callbacks by the type of the value that they receive."""

    def __init__(self) -> None:
        self._by_type: dict[type, list[Callable[[Any], None]]] = {}

    def add(self, kind: type[T], listener: Callable[[T], None]) -> Callback:
        """Call `listener` with every announced `kind`; the returned function ends that."""
        listeners = self._by_type.setdefault(kind, [])
        listeners.append(listener)
        return lambda: listeners.remove(listener)

    def call(self, value: object) -> None:
        for listener in tuple(self._by_type.get(type(value), ())):
            listener(value)


def after_commit(db: AsyncSession, callback: Callback) -> None:
    """Call `callback` once the transaction of `db` has committed; never, if it rolls back.

    It must neither wait nor raise.
    """
    db.info.setdefault(_CALLBACKS, []).append(callback)


def announce(db: AsyncSession, value: object) -> None:
    """Hand `value` to this process's listeners of its type once the transaction of `db` has committed."""
    listeners: Listeners = db.info[_LISTENERS]
    after_commit(db, partial(listeners.call, value))


def session_info(listeners: Listeners) -> dict[str, Any]:
    """What a session carries for `announce`."""
    return {_LISTENERS: listeners}


def run_callbacks(db: AsyncSession) -> None:
    """Called by `Database.transaction`, the only committer."""
    for callback in db.info.pop(_CALLBACKS, ()):
        callback()
