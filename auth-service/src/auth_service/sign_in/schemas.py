"""What signing in takes; the answer is a session's tokens (sessions/schemas.py)."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from shared.web.json_input import Input

TenantName = Annotated[
    str, Field(min_length=1, max_length=64, description="The slug of one of your tenants, or its id.")
]
# A new password has at most 256 characters; decomposed, each can be four.
Password = Annotated[str, Field(min_length=1, max_length=1024, json_schema_extra={"format": "password"})]
Identifier = Annotated[str, Field(min_length=1, max_length=254, description="The username or the email.")]


class LoginIn(Input):
    model_config = ConfigDict(
        json_schema_extra={"example": {"username": "ann", "password": "Sail-away-7", "tenant": "acme"}}
    )

    username: Identifier
    password: Password
    tenant: TenantName | None = None
    scope: Annotated[
        str | None, Field(max_length=2000, description="Limits the session to these scopes, separated by spaces.")
    ] = None
    cookie: bool = Field(default=False, strict=True, description="Set the refresh token as a cookie, not in the body.")


class LoginForm(Input):
    """The fields of the OAuth2 password form, as Swagger UI sends them: our own sign-in, not a token grant."""

    username: Identifier
    password: Password
    grant_type: Literal["password", ""] | None = None
    scope: Annotated[str, Field(max_length=2000)] = ""
    client_id: Annotated[str, Field(max_length=200)] = ""
    client_secret: Annotated[str, Field(max_length=200)] = ""
    tenant: TenantName | None = None


class SessionIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"tenant": "acme"}})

    tenant: TenantName
    cookie: bool = Field(default=False, strict=True, description="Set the refresh token as a cookie, not in the body.")
