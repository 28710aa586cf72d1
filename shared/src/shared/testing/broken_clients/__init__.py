"""Clients that break the rules, on raw sockets: a catalogue, and what a server may never do because of them.

    async with service_process("chat_service", settings_values, log) as process:
        target = Target(process.url, lambda: as_user("ann"), get="/api/v1/rooms", post="/api/v1/rooms")
        await survives(process, target)

A client's mistake is not an error of the server: it logs none, answers no 5xx, keeps no connection, and serves others.
"""

from shared.testing.broken_clients.client import Target, Wire
from shared.testing.broken_clients.findings import survives

__all__ = ["Target", "Wire", "survives"]
