from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.identity.access_tokens import ACCESS_TTL_S

ACCESS_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - RFC 8693, section 3


class OAuthTokensOut(BaseModel):
    """RFC 6749, section 5.1, and OpenID Connect Core 1.0, section 3.1.3.3."""

    access_token: str = Field(examples=["eyJhbGciOi…"])
    token_type: Literal["Bearer", "DPoP"] = "Bearer"  # noqa: S105 - the scheme's name (RFC 6750)
    expires_in: int = Field(default=ACCESS_TTL_S, description="Seconds.")
    scope: str = Field(examples=["openid jobs:read"])
    refresh_token: str | None = Field(default=None, examples=["q3mZ0w…"])
    issued_token_type: str | None = Field(default=None, description="After a token exchange (RFC 8693).")
    id_token: str | None = Field(default=None, description="With the scope openid.", examples=["eyJhbGciOi…"])


class IntrospectionOut(BaseModel):
    """RFC 7662, section 2.2; a token that is not valid for the caller has `active` alone."""

    model_config = ConfigDict(json_schema_extra={"example": {"active": True, "scope": "jobs:read", "sub": "…"}})

    active: bool
    scope: str | None = None
    client_id: str | None = None
    username: str | None = None
    token_type: str | None = None
    exp: int | None = None
    iat: int | None = None
    sub: str | None = None
    aud: str | None = None
    iss: str | None = None
    jti: str | None = None
    sid: str | None = None
    tenant: str | None = None
    tenant_slug: str | None = None
    roles: list[str] | None = None
    tier: str | None = None
    auth_time: int | None = None
    acr: str | None = None
    amr: list[str] | None = None
    cnf: dict[str, Any] | None = None
    act: dict[str, Any] | None = None


FORM_EXAMPLE = {
    "grant_type": "authorization_code",
    "code": "q3mZ0w…",
    "code_verifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    "redirect_uri": "https://planner.example/callback",
    "client_id": "01890a5d-ac96-774b-bcce-b302099a8057",
}
