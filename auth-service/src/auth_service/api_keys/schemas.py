"""An API key as a person makes and lists it, and as the gateway redeems it."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.identity.api_keys import MAX_CHARS
from shared.text import NAME
from shared.web.json_input import Input
from shared.web.times import Moment

ScopeName = Annotated[str, Field(min_length=1, max_length=100)]


class ApiKeyIn(Input):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "Nightly import",
                "scopes": ["files:read", "files:write"],
                "expires_at": "2099-01-31T12:00:00Z",
            }
        }
    )

    name: Annotated[str, Field(min_length=1, max_length=100, description="What the key is for."), NAME]
    scopes: Annotated[list[ScopeName], Field(min_length=1, max_length=100)] = Field(
        description="What the key may do: scopes of the caller's own token. At each use the person's roles count too."
    )
    expires_at: Moment | None = Field(default=None, description="Null or omitted: valid until it is revoked.")


class ApiKeyOut(BaseModel):
    """A key without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str = Field(examples=["Nightly import"])
    prefix: str = Field(description="The key's first characters, which are not secret.", examples=["flk_7Hc2kQ9s"])
    scopes: list[str] = Field(examples=[["files:read"]])
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="Exact to a minute.")


class NewApiKeyOut(ApiKeyOut):
    key: str = Field(
        description="The key, to send as `X-API-Key`. It is shown now and never again.", examples=["flk_7Hc2kQ9sLmXa_…"]
    )


class RedeemKeyIn(Input):
    """`confirm`: ask users-service about the membership first, because the caller knows of a newer one."""

    model_config = ConfigDict(json_schema_extra={"example": {"key": "flk_7Hc2kQ9sLmXa_…", "confirm": False}})

    key: Annotated[str, Field(max_length=MAX_CHARS)]
    confirm: bool = Field(default=False, strict=True)


class RedeemedKeyOut(BaseModel):
    """The claims of the person behind the key, valid for as long as an access token at most."""

    claims: dict[str, Any] = Field(examples=[{"sub": "01890a5d-ac96-774b-bcce-b302099a8057", "scope": "files:read"}])
