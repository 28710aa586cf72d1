"""What a service does about which event."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from shared.events.event import Consumed

C = TypeVar("C", bound=Consumed)
Handle = Callable[[AsyncSession, C], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Handler:
    """One reaction. `latest_only`: a projection, to which an older version of the same subject says nothing new."""

    event: type[Consumed]
    handle: Callable[[AsyncSession, Any], Awaitable[None]]
    latest_only: bool


class EventHandlers:
    """A service's handlers by event type, at most one each: two effects of one event are one transaction."""

    def __init__(self, *others: "EventHandlers") -> None:
        self._by_type: dict[str, Handler] = {}
        for other in others:
            for handler in other._by_type.values():
                self._add(handler)

    @property
    def types(self) -> list[str]:
        """The event types that the service consumes; its queue is bound to them."""
        return sorted(self._by_type)

    @property
    def events(self) -> list[type[Consumed]]:
        """The same, as what the service reads of each."""
        return [self._by_type[name].event for name in self.types]

    def get(self, type: str) -> Handler | None:  # noqa: A002 - CloudEvents' own word
        return self._by_type.get(type)

    def on(self, event: type[C], *, latest_only: bool = False) -> Callable[[Handle[C]], Handle[C]]:
        """Register a handler: `async def f(db, event)`, run as the event's tenant in the transaction of its mark."""

        def register(handle: Handle[C]) -> Handle[C]:
            self._add(Handler(event, handle, latest_only))
            return handle

        return register

    def _add(self, handler: Handler) -> None:
        if handler.event.type in self._by_type:
            raise ValueError(f"{handler.event.type} already has a handler")
        self._by_type[handler.event.type] = handler
