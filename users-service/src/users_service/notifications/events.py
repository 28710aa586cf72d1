"""What the slice publishes: whom to notify of what, by ids."""

from typing import ClassVar
from uuid import UUID

from shared.events import Event

_PERSON = "01890a5d-ac96-774b-bcce-b302099a8057"
_POST = "01890a5d-ac96-774b-bcce-b302099a8060"


class NotificationRequested(Event):
    """People are to be notified of `subject`: each person once for an `occasion_id`, however often this is sent.

    `kind` selects the text; `data` holds the ids that it speaks of.
    """

    type: ClassVar[str] = "notification.requested.v1"
    example: ClassVar[dict[str, object]] = {
        "user_ids": [_PERSON],
        "kind": "post.published",
        "data": {"post_id": _POST, "author_id": "01890a5d-ac96-774b-bcce-b302099a8058"},
        "occasion_id": "01890a5d-ac96-774b-bcce-b302099a8061",
    }

    user_ids: list[UUID]
    kind: str
    data: dict[str, UUID]
    occasion_id: UUID
