"""Events between services: outbox → relay → bus → inbox → handler, each step durable before the next."""

from shared.events import outbox
from shared.events.bus import Bus, BusUnavailable, MessageRefused
from shared.events.event import Consumed, Event
from shared.events.handlers import EventHandlers
from shared.events.transports import open_bus

__all__ = ["Bus", "BusUnavailable", "Consumed", "Event", "EventHandlers", "MessageRefused", "open_bus", "outbox"]
