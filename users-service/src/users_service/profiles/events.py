"""What the slice publishes: that something changed, never what a profile says."""

from typing import ClassVar

from shared.events import Event


class UserUpdated(Event):
    """A person changed their profile in a tenant."""

    type: ClassVar[str] = "user.updated.v1"
    example: ClassVar[dict[str, object]] = {"username": "ann"}
    external: ClassVar[bool] = True

    username: str
