"""What the slice publishes. Memberships and their data stay: they are users-service's."""

from typing import ClassVar, Literal

from shared.events import Event

By = Literal["owner", "operator"]


class AccountDeactivated(Event):
    """An account was deactivated: its person cannot sign in, and their sessions and API keys have ended."""

    type: ClassVar[str] = "account.deactivated.v1"
    example: ClassVar[dict[str, object]] = {"by": "owner"}
    external: ClassVar[bool] = True

    by: By


class AccountReactivated(Event):
    """A deactivated account is active again."""

    type: ClassVar[str] = "account.reactivated.v1"
    example: ClassVar[dict[str, object]] = {"by": "owner"}
    external: ClassVar[bool] = True

    by: By
