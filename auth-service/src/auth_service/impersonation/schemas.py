"""What an impersonation takes, and the token that it is."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from auth_service.sign_in.schemas import TenantName
from shared.text import NAME
from shared.web.json_input import Input


class ImpersonationIn(Input):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "user_id": "01890a5d-ac96-774b-bcce-b302099a8057",
                "tenant": "acme",
                "reason": "Ticket 4711: the upload fails.",
            }
        }
    )

    user_id: UUID
    tenant: Annotated[TenantName, Field(description="The slug of one of the person's tenants, or its id.")]
    reason: Annotated[str, Field(min_length=1, max_length=500, description="The person and the audit see it."), NAME]


class ImpersonationTokenOut(BaseModel):
    """An access token for the person in the tenant. There is no refresh token."""

    access_token: str = Field(examples=["eyJhbGciOiJFUzI1NiIs…"])
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the scheme's name (RFC 6750)
    expires_in: int = Field(description="Seconds.")
    scope: str = Field(examples=["profile:read jobs:read"])
    session_id: UUID
