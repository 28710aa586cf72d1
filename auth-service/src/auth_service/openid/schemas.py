from uuid import UUID

from pydantic import BaseModel, Field


class UserinfoOut(BaseModel):
    """The claims that the token's scopes reveal (OpenID Connect Core 1.0, section 5.3.2)."""

    sub: UUID
    preferred_username: str | None = Field(default=None, description="With the scope profile.", examples=["ann"])
    email: str | None = Field(
        default=None, description="With the scope email, once it is verified.", examples=["ann@example.com"]
    )
    email_verified: bool | None = Field(default=None, examples=[True])


class MetadataOut(BaseModel):
    """RFC 8414, section 2, and OpenID Connect Discovery 1.0, section 3."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str
    jwks_uri: str
    registration_endpoint: str
    introspection_endpoint: str
    revocation_endpoint: str
    pushed_authorization_request_endpoint: str
    device_authorization_endpoint: str
    end_session_endpoint: str
    scopes_supported: list[str]
    response_types_supported: list[str]
    response_modes_supported: list[str]
    grant_types_supported: list[str]
    subject_types_supported: list[str]
    id_token_signing_alg_values_supported: list[str]
    token_endpoint_auth_methods_supported: list[str]
    token_endpoint_auth_signing_alg_values_supported: list[str]
    introspection_endpoint_auth_methods_supported: list[str]
    revocation_endpoint_auth_methods_supported: list[str]
    code_challenge_methods_supported: list[str]
    dpop_signing_alg_values_supported: list[str]
    claims_supported: list[str]
    acr_values_supported: list[str]
    prompt_values_supported: list[str]
    ui_locales_supported: list[str]
    authorization_response_iss_parameter_supported: bool
    request_parameter_supported: bool
    request_uri_parameter_supported: bool
    claims_parameter_supported: bool
    backchannel_logout_supported: bool
    backchannel_logout_session_supported: bool
    service_documentation: str
