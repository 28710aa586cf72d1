"""What changing a password takes."""

from typing import Annotated

from pydantic import ConfigDict, Field

from auth_service.accounts.fields import ConfirmedPassword, NewPassword
from auth_service.links.schemas import LinkToken
from auth_service.sign_in.schemas import Password
from shared.web.json_input import Input

_NEW = {"password": "Sail-away-8", "confirm_password": "Sail-away-8"}


class PasswordIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"current_password": "Sail-away-7", **_NEW}})

    current_password: Password
    password: NewPassword
    confirm_password: ConfirmedPassword


class ResetIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"email": "ann@example.com"}})

    email: Annotated[str, Field(min_length=1, max_length=254, json_schema_extra={"format": "email"})]


class ResetConfirmIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"token": "q3mZ0w…", **_NEW}})

    token: LinkToken
    password: NewPassword
    confirm_password: ConfirmedPassword
