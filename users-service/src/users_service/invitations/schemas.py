"""Invitations as clients send and see them, and as auth-service finds and accepts them for its page."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.email_addresses import new_address
from shared.web.json_input import Input
from users_service.members.schemas import Roles
from users_service.tenants.schemas import TenantBrief

Email = Annotated[str, Field(max_length=254, json_schema_extra={"format": "email"}), AfterValidator(new_address)]
Locale = Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z0-9-]+$", description="A language tag (BCP 47).")]
Token = Annotated[str, Field(min_length=1, max_length=200, description="The secret in the mail's link.")]

_EXAMPLE = "AYkKXayWd0u8zrMCCakgVz9sUTyOAsBoR1cu2rQxq7VdJm0sYp1hXn8sKb4fDZtC"


class InvitationIn(Input):
    """Whom to invite, and what they may do in the tenant."""

    model_config = ConfigDict(json_schema_extra={"example": {"email": "bob@example.com", "roles": ["user"]}})

    email: Email
    roles: Roles
    locale: Locale | None = Field(default=None, description="The language of the mail; English without it.")


class Inviter(BaseModel):
    id: UUID
    username: str | None = Field(examples=["ann"])


class InvitationOut(BaseModel):
    """An invitation that was neither accepted nor withdrawn. Its token is in the mail alone."""

    id: UUID
    email: str = Field(examples=["bob@example.com"])
    roles: list[str] = Field(examples=[["user"]])
    status: Literal["open", "expired"]
    invited_by: Inviter
    created_at: datetime
    expires_at: datetime


class AcceptIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"token": _EXAMPLE}})

    token: Token


class AcceptedOut(BaseModel):
    """The membership that results. `POST /auth/sessions {tenant}` opens a session in it."""

    tenant: TenantBrief
    user_id: UUID
    username: str = Field(examples=["bob"])
    roles: list[str] = Field(examples=[["user"]])
    status: Literal["active"]


class FindIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"token": _EXAMPLE}})

    token: Token


class OfferOut(BaseModel):
    """What an open invitation offers, for the page that its link leads to."""

    tenant: TenantBrief
    email: str = Field(examples=["bob@example.com"])
    roles: list[str] = Field(examples=[["user"]])
    invited_by: Inviter
    expires_at: datetime


class AcceptForIn(Input):
    """auth-service accepts for a person who is signed in at its page; `email` is the address that they verified."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "token": _EXAMPLE,
                "user_id": "01890a5d-ac96-774b-bcce-b302099a8057",
                "email": "bob@example.com",
            }
        }
    )

    token: Token
    user_id: UUID
    email: Email
