"""The fields of the account's forms, beside those that the JSON API has as well."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, Json

from auth_service.mfa.schemas import Code, FactorName
from auth_service.sign_in.schemas import Password
from shared.web.json_input import Input


class ConfirmForm(Input):
    """One of them: the password, or a second factor. `credential` is a passkey's answer as JSON."""

    then: str = ""
    password: Password | None = None
    code: Code | None = None
    credential: Json[dict[str, Any]] | None = None


class ApiKeyForm(Input):
    """`days` is how long the key is valid; None: until it is revoked. The scopes are fields of their own."""

    name: str
    days: Annotated[int, Field(ge=1, le=366)] | None = None


class TotpCodeForm(Input):
    factor_id: UUID
    code: Code


class PasskeyForm(Input):
    name: FactorName = "Passkey"
    credential: Json[dict[str, Any]]
