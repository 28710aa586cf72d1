"""What signing in takes; the answer is a session's tokens (sessions/schemas.py)."""

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from auth_service.mfa.schemas import EXAMPLE_CREDENTIAL, CredentialIn, FactorName, ProofIn
from shared.web.json_input import Input

MAX_IDENTIFIER_LENGTH: Final = 254  # of an email address (RFC 5321, section 4.5.3.1.3)

TenantName = Annotated[
    str, Field(min_length=1, max_length=64, description="The slug of one of your tenants, or its id.")
]
# A new password has at most 256 characters; decomposed, each can be four.
Password = Annotated[str, Field(min_length=1, max_length=1024, json_schema_extra={"format": "password"})]
Identifier = Annotated[
    str, Field(min_length=1, max_length=MAX_IDENTIFIER_LENGTH, description="The username or the email.")
]
MfaToken = Annotated[str, Field(min_length=1, max_length=100, description="Of the problem `mfa_required`.")]


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
    remember_me: bool = Field(
        default=False,
        strict=True,
        description="Keep the session for 30 days without a refresh, not 12 h, and a cookie beyond the browser's end.",
    )


class LoginForm(Input):
    """The fields of the OAuth2 password form, as Swagger UI sends them: our own sign-in, not a token grant."""

    model_config = ConfigDict(json_schema_extra={"example": {"username": "ann", "password": "Sail-away-7"}})

    username: Identifier
    password: Password
    grant_type: Literal["password", ""] | None = None
    scope: Annotated[str, Field(max_length=2000)] = ""
    client_id: Annotated[str, Field(max_length=200)] = ""
    client_secret: Annotated[str, Field(max_length=200)] = ""
    tenant: TenantName | None = None


class VerifyFactorIn(ProofIn):
    model_config = ConfigDict(
        json_schema_extra={"example": {"mfa_token": "q3mZ0w…", "method": "totp", "code": "492039"}}
    )

    mfa_token: MfaToken


class EnrolIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"mfa_token": "q3mZ0w…"}})

    mfa_token: MfaToken
    name: FactorName = "Authenticator app"


class PasskeyOptionsIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {}})

    mfa_token: MfaToken | None = Field(default=None, description="Omitted for a sign-in by passkey alone.")


class PasskeySignInIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"credential": EXAMPLE_CREDENTIAL, "tenant": "acme"}})

    credential: CredentialIn
    tenant: TenantName | None = None
    scope: Annotated[
        str | None, Field(max_length=2000, description="Limits the session to these scopes, separated by spaces.")
    ] = None
    cookie: bool = Field(default=False, strict=True, description="Set the refresh token as a cookie, not in the body.")
    remember_me: bool = Field(
        default=False,
        strict=True,
        description="Keep the session for 30 days without a refresh, not 12 h, and a cookie beyond the browser's end.",
    )


class SessionIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"tenant": "acme"}})

    tenant: TenantName
    cookie: bool = Field(default=False, strict=True, description="Set the refresh token as a cookie, not in the body.")
