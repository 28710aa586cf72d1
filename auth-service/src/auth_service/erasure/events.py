"""What the slice publishes."""

from typing import ClassVar

from shared.events import Event


class AccountErased(Event):
    """An account was erased: its person is known by their id only, and no one signs in to it again."""

    type: ClassVar[str] = "account.erased.v1"
    example: ClassVar[dict[str, object]] = {}
    external: ClassVar[bool] = True
