"""What the fixtures hand to tests, by type."""

from collections.abc import Awaitable, Callable
from typing import Any

from shared.events.models import OutboxRow

Register = Callable[..., Awaitable[dict[str, Any]]]
"""`await register("ann", tenant="acme")` registers a person as auth-service does; the answer."""

Published = Callable[..., Awaitable[list[OutboxRow]]]
"""`await published("tenant.")` reads what the service has published, in order, by the beginning of the type."""
