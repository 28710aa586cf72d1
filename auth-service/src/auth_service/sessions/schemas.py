"""What refreshing takes, and what sessions answer."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.identity.access_tokens import ACCESS_TTL_S
from shared.web.json_input import Input


class RefreshIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"refresh_token": "q3mZ0w…"}})

    refresh_token: str | None = Field(
        default=None, description="Omitted if the cookie has it. Any text that is not a valid token is 401."
    )


class TokensOut(BaseModel):
    """RFC 6749, section 5.1, and what a page needs beside it."""

    access_token: str
    refresh_token: str | None = Field(default=None, description="Omitted if it was set as a cookie.")
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the scheme's name (RFC 6750)
    expires_in: int = Field(default=ACCESS_TTL_S, description="Seconds.")
    scope: str
    session_id: UUID
    csrf_token: str | None = Field(default=None, description="With a cookie: send it back as X-CSRF-Token.")


class TenantOut(BaseModel):
    id: UUID
    slug: str | None
    name: str | None


class TenantWithTier(TenantOut):
    tier: str | None


class MeOut(BaseModel):
    """The token's view of the person."""

    id: UUID
    username: str
    email: str | None = Field(description="Null until one is verified, where emails are verified.")
    tenant: TenantWithTier | None
    roles: list[str]
    scope: str


class SessionOut(BaseModel):
    id: UUID
    tenant: TenantOut
    created_at: datetime
    last_seen_at: datetime
    device: str | None
    current: bool


class SessionsEnded(BaseModel):
    sessions_ended: int
