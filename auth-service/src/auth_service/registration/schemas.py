"""What a registration takes and answers."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from auth_service.accounts.spelling import NEW_PASSWORD, USERNAME
from shared.email_addresses import new_address
from shared.text import NAME
from shared.web.json_input import Input

Username = Annotated[
    str,
    Field(min_length=3, max_length=32, pattern=r"^[A-Za-z0-9_.\-]+$", description="Letters, digits, `_`, `.` and `-`."),
    USERNAME,
]
Email = Annotated[str, Field(max_length=254, json_schema_extra={"format": "email"}), AfterValidator(new_address)]
NewPassword = Annotated[
    str, Field(min_length=8, max_length=256, json_schema_extra={"format": "password"}), NEW_PASSWORD
]
Slug = Annotated[
    str,
    Field(pattern=r"^[a-z][a-z0-9-]{1,38}[a-z0-9]$", description="3 to 40 lower-case letters, digits and `-`."),
]


class TenantIn(Input):
    name: Annotated[str, Field(min_length=1, max_length=100), NAME]
    slug: Slug


class RegistrationIn(Input):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "username": "ann",
                "email": "ann@example.com",
                "password": "Sail-away-7",
                "confirm_password": "Sail-away-7",
                "tenant": {"name": "Acme", "slug": "acme"},
            }
        }
    )

    username: Username
    email: Email
    password: NewPassword
    confirm_password: Annotated[str, Field(max_length=256, json_schema_extra={"format": "password"}), NEW_PASSWORD]
    tenant: TenantIn | None = Field(default=None, description="A new tenant; without one, the default tenant.")


class TenantOut(BaseModel):
    id: UUID
    slug: str
    name: str


class AccountOut(BaseModel):
    id: UUID
    username: str
    email: str
    tenant: TenantOut | None
