from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from auth_service.sign_in.schemas import TenantName
from auth_service.upstream_sign_in.models import CEREMONY_TTL_S
from shared.web.json_input import Input


class StartQuery(Input):
    """How a sign-in page begins."""

    tenant: TenantName | None = None
    continued: Annotated[str, Field(alias="continue", max_length=10_000)] = ""


class LinkOut(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "authorization_url": "https://login.acme.example/authorize?response_type=code",
                "expires_in": 600,
            }
        }
    )

    authorization_url: str = Field(description="To be opened in the browser that sent this request.")
    expires_in: int = Field(default=CEREMONY_TTL_S, description="Seconds.")
