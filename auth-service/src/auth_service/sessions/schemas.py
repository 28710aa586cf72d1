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

    access_token: str = Field(examples=["eyJhbGciOi…"])
    refresh_token: str | None = Field(
        default=None, description="Omitted if it was set as a cookie.", examples=["q3mZ0w…"]
    )
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the scheme's name (RFC 6750)
    expires_in: int = Field(default=ACCESS_TTL_S, description="Seconds.")
    scope: str = Field(examples=["profile:read jobs:read"])
    session_id: UUID
    csrf_token: str | None = Field(default=None, description="With a cookie: send it back as X-CSRF-Token.")


class TenantOut(BaseModel):
    id: UUID
    slug: str | None = Field(examples=["acme"])
    name: str | None = Field(examples=["Acme"])


class TenantWithTier(TenantOut):
    tier: str | None = Field(examples=["free"])


class MeOut(BaseModel):
    """The token's view of the person."""

    id: UUID
    username: str = Field(examples=["ann"])
    email: str | None = Field(
        description="Null until one is verified, and for an OAuth client without the scope `email`.",
        examples=["ann@example.com"],
    )
    tenant: TenantWithTier | None
    roles: list[str] = Field(examples=[["user"]])
    scope: str = Field(examples=["profile:read jobs:read"])
    impersonator_id: UUID | None = Field(description="The operator who acts as the person; null for the person.")


class OperatorOut(BaseModel):
    id: UUID
    username: str | None = Field(description="Null if the account does not exist any more.", examples=["root"])


class ImpersonationOut(BaseModel):
    """An operator of the fleet acts as the person in this session."""

    operator: OperatorOut
    reason: str = Field(examples=["Ticket 4711: the upload fails."])
    until: datetime


class SessionOut(BaseModel):
    id: UUID
    tenant: TenantOut
    created_at: datetime
    last_seen_at: datetime
    device: str | None = Field(
        description="Browser and system, such as `Firefox on Windows`, or the client's name.",
        examples=["Firefox on Windows"],
    )
    address: str | None = Field(description="Where it was opened, as the gateway saw it.", examples=["203.0.113.7"])
    current: bool
    impersonation: ImpersonationOut | None = Field(description="Null for a session of the person.")


class SessionsEnded(BaseModel):
    sessions_ended: int
