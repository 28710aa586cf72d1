"""What the slice publishes. Events carry no profile data."""

from typing import ClassVar

from shared.events import Event


class AccountRegistered(Event):
    """An account was registered and may sign in."""

    type: ClassVar[str] = "account.registered.v1"
    example: ClassVar[dict[str, object]] = {"username": "ann"}

    username: str
