from typing import Any

from pydantic import Field, Json

from auth_service.mfa.schemas import Code
from auth_service.sign_in.schemas import Identifier, MfaToken, Password, TenantName
from shared.web.json_input import Input


class SignInForm(Input):
    """The fields of the sign-in page."""

    username: Identifier
    password: Password
    tenant: TenantName | None = None
    continued: str = Field(default="", alias="continue", max_length=10_000)


class SecondFactorForm(Input):
    """The fields of the page of the second factor; `credential` is a passkey's answer as JSON."""

    mfa_token: MfaToken
    code: Code | None = None
    credential: Json[dict[str, Any]] | None = None
    continued: str = Field(default="", alias="continue", max_length=10_000)
