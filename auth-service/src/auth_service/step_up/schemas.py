"""What a step-up takes: the password, or a second factor."""

from typing import Literal

from pydantic import ConfigDict

from auth_service.mfa.schemas import Code, CredentialIn
from auth_service.sign_in.schemas import Password
from shared.web.json_input import Input


class StepUpIn(Input):
    """`password` with the method of that name, `code` with `totp` and `recovery_code`, `credential` with `passkey`."""

    model_config = ConfigDict(json_schema_extra={"example": {"method": "totp", "code": "492039"}})

    method: Literal["password", "totp", "passkey", "recovery_code"]
    password: Password | None = None
    code: Code | None = None
    credential: CredentialIn | None = None
