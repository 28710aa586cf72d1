"""A ticket as clients ask for it, and as the gateway redeems it."""

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.field_errors import FieldRule
from shared.web.json_input import Input

TTL_S: Final = 30  # as long as a page needs to open what it just asked for

_PATH: Final = re.compile(r"/ws|(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/(events|content|avatar)")

TICKET_PATH: Final = FieldRule("ticket_path", "Must be /ws, or a path that ends in /events, /content or /avatar.")


def _ticket_path(value: str) -> str:
    if _PATH.fullmatch(value) is None:
        raise TICKET_PATH.broken()
    return value


class TicketIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"path": "/ws"}})

    path: Annotated[str, Field(max_length=500), AfterValidator(_ticket_path)]


class TicketOut(BaseModel):
    ticket: str = Field(examples=["q3mZ0w…"])
    expires_in: int = Field(default=TTL_S, description="Seconds.")


class RedeemIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"ticket": "q3mZ0w…", "path": "/ws"}})

    ticket: Annotated[str, Field(max_length=200)]
    path: Annotated[str, Field(max_length=2000)]


class RedeemOut(BaseModel):
    """The claims of the access token behind the ticket; `exp` is that token's."""

    claims: dict[str, Any] = Field(examples=[{"sub": "01890a5d-ac96-774b-bcce-b302099a8057", "scope": "chat:read"}])
