"""Background work. Every loop in the fleet is a `PollingLoop`, kept running by `supervise`."""

from shared.background.backoff import Backoff
from shared.background.polling import PollingLoop, Progress
from shared.background.supervision import BackgroundTask, raise_if_cancelled, supervise

__all__ = [
    "BackgroundTask",
    "Backoff",
    "PollingLoop",
    "Progress",
    "raise_if_cancelled",
    "supervise",
]
