"""What reactivating an account takes."""

from typing import Annotated

from pydantic import ConfigDict, Field

from auth_service.links.schemas import LinkToken
from shared.web.json_input import Input


class ReactivationIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"email": "ann@example.com"}})

    email: Annotated[str, Field(min_length=1, max_length=254, json_schema_extra={"format": "email"})]


class ReactivationConfirmIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"token": "q3mZ0w…"}})

    token: LinkToken
