"""What a registration takes and answers."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from auth_service.accounts.fields import ConfirmedPassword, Email, NewPassword, Username
from shared.text import NAME
from shared.web.birth_dates import BirthDate
from shared.web.json_input import Input

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
                "birth_date": "1990-02-28",
                "newsletter": True,
            }
        }
    )

    username: Username
    email: Email
    password: NewPassword
    confirm_password: ConfirmedPassword
    tenant: TenantIn | None = Field(default=None, description="A new tenant; without one, the default tenant.")
    birth_date: Annotated[
        BirthDate | None, Field(description="Of a person of 13 to 120 years; part of the profile.")
    ] = None
    newsletter: bool = Field(default=False, strict=True, description="Whether the person wants newsletters.")


class TenantOut(BaseModel):
    id: UUID
    slug: str = Field(examples=["acme"])
    name: str = Field(examples=["Acme"])


class AccountOut(BaseModel):
    id: UUID
    username: str = Field(examples=["ann"])
    email: str = Field(examples=["ann@example.com"])
    tenant: TenantOut | None
