"""The fields of an account as requests have them."""

from typing import Annotated

from pydantic import AfterValidator, Field

from auth_service.accounts.spelling import NEW_PASSWORD, USERNAME
from shared.email_addresses import new_address

Username = Annotated[
    str,
    Field(min_length=3, max_length=32, pattern=r"^[A-Za-z0-9_.\-]+$", description="Letters, digits, `_`, `.` and `-`."),
    USERNAME,
]
Email = Annotated[str, Field(max_length=254, json_schema_extra={"format": "email"}), AfterValidator(new_address)]
NewPassword = Annotated[
    str, Field(min_length=8, max_length=256, json_schema_extra={"format": "password"}), NEW_PASSWORD
]
ConfirmedPassword = Annotated[str, Field(max_length=256, json_schema_extra={"format": "password"}), NEW_PASSWORD]
