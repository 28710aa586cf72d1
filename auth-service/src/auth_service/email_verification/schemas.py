"""What verifying an address takes, and what other services ask about it."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from auth_service.accounts.fields import Email
from auth_service.links.schemas import LinkToken
from auth_service.sign_in.schemas import Identifier, Password
from shared.web.json_input import Input


class VerifyIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"token": "q3mZ0w…"}})

    token: LinkToken


class VerificationIn(Input):
    model_config = ConfigDict(
        json_schema_extra={"example": {"username": "ann", "password": "Sail-away-7", "email": "ann@example.org"}}
    )

    username: Identifier
    password: Password
    email: Annotated[
        Email | None, Field(description="The account's next address; omitted: the one that is not verified yet.")
    ] = None


class CheckIn(Input):
    model_config = ConfigDict(
        json_schema_extra={"example": {"user_id": "01890a5d-ac96-774b-bcce-b302099a8057", "email": "ann@example.com"}}
    )

    user_id: UUID
    email: Email


class CheckOut(BaseModel):
    verified: bool
