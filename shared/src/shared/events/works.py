"""The background work that every service with events runs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from shared.events.inbox import InboxWorker
from shared.events.receiver import Receiver
from shared.events.relay import Relay
from shared.supervision import Work

if TYPE_CHECKING:
    from shared.app import Service
    from shared.parts import Parts


def event_works(service: "Service", parts: "Parts") -> Mapping[str, Work]:
    """Relay, receiver and inbox worker, by name; none where the process has no bus or no database."""
    if parts.settings.bus_url is None or parts.settings.database_url is None:
        return {}
    works: dict[str, Work] = {"relay": Relay(parts.database, parts.bus, service.name).run}
    if service.handlers.types:
        works["receiver"] = Receiver(parts.database, parts.bus, service.name, service.handlers).run
        works["inbox"] = InboxWorker(parts.database, service.handlers).run
    return works
