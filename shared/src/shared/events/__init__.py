"""Events between services: outbox → relay → bus → inbox → handler, each step durable before the next."""

from shared.events import outbox
from shared.events.brokers import open_bus
from shared.events.bus import Bus, BusUnavailable, MessageRefused
from shared.events.event import Consumed, Event
from shared.events.handlers import EventHandlers

__all__ = ["Bus", "BusUnavailable", "Consumed", "Event", "EventHandlers", "MessageRefused", "open_bus", "outbox"]
