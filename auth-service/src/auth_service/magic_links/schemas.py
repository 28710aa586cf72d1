"""What signing in by a mailed link takes; the answer is a session's tokens (sessions/schemas.py)."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from auth_service.links.schemas import LinkToken
from auth_service.sign_in.schemas import TenantName
from shared.field_errors import FieldRule
from shared.web.json_input import Input

TOKEN_OR_CODE = FieldRule("token_or_code", "Must have either `token` or `code`.")


class MagicLinkIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"email": "ann@example.com"}})

    email: Annotated[str, Field(min_length=1, max_length=254, json_schema_extra={"format": "email"})]


class MagicLinkConfirmIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"token": "q3mZ0w…", "tenant": "acme"}})

    token: LinkToken | None = None
    code: Annotated[
        str | None, Field(max_length=20, description="Instead of `token`: what another browser showed for the link.")
    ] = None
    tenant: TenantName | None = None
    scope: Annotated[
        str | None, Field(max_length=2000, description="Limits the session to these scopes, separated by spaces.")
    ] = None
    cookie: bool = Field(default=False, strict=True, description="Set the refresh token as a cookie, not in the body.")
    remember_me: bool = Field(default=False, strict=True, description="As at POST /auth/login.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.token is None) == (self.code is None):
            raise TOKEN_OR_CODE.broken()
        return self
