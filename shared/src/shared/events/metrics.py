"""What is measured about events."""

from prometheus_client import Counter, Gauge

OUTBOX_PENDING = Gauge("flotilla_outbox_pending", "Events waiting to be published.")
OUTBOX_OLDEST_S = Gauge("flotilla_outbox_oldest_age_seconds", "Age of the oldest event waiting to be published.")
OUTBOX_PARKED = Gauge("flotilla_outbox_parked", "Events that the broker rejected, until they are replayed.")
INBOX_PENDING = Gauge("flotilla_inbox_pending", "Events waiting to be handled.")
INBOX_OLDEST_S = Gauge("flotilla_inbox_oldest_age_seconds", "Age of the oldest event waiting to be handled.")
INBOX_PARKED = Gauge("flotilla_inbox_parked", "Events that could not be handled, until they are replayed.")
UNROUTED = Gauge("flotilla_bus_unrouted", "Messages of types without a consumer (the last 10,000 are kept).")
PUBLISHED = Counter("flotilla_events_published_total", "Events confirmed by the broker.", ["type"])
RECEIVED = Counter("flotilla_events_received_total", "Events stored in the inbox, including duplicates.", ["type"])
HANDLED = Counter("flotilla_events_handled_total", "Events processed: `handled` or `stale` (skipped).", ["type", "how"])
FAILED = Counter("flotilla_events_failed_total", "Failed attempts, by box.", ["type", "where"])
