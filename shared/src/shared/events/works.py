"""The background work that every service with events runs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from shared.supervision import Work

if TYPE_CHECKING:
    from shared.app import Service
    from shared.parts import Parts


def event_works(service: "Service", parts: "Parts") -> Mapping[str, Work]:
    return {}
