"""What this authorization server says about itself (RFC 8414; OpenID Connect Discovery 1.0)."""

from typing import Final, get_args

from auth_service.clients.models import AuthMethod, GrantType
from auth_service.languages import LANGUAGES
from auth_service.openid.schemas import MetadataOut
from shared.identity.authentication import AAL1, AAL2
from shared.identity.dpop import ALGORITHMS
from shared.identity.scopes import ALL_SCOPES

_METHODS: Final = list(get_args(AuthMethod))
_CONFIDENTIAL: Final = [method for method in _METHODS if method != "none"]


def metadata(public_url: str) -> MetadataOut:
    """The metadata of the issuer PUBLIC_URL."""
    base = f"{public_url}/oauth2"
    return MetadataOut(
        issuer=public_url,
        authorization_endpoint=f"{base}/authorize",
        token_endpoint=f"{base}/token",
        userinfo_endpoint=f"{base}/userinfo",
        jwks_uri=f"{base}/jwks.json",
        registration_endpoint=f"{base}/register",
        introspection_endpoint=f"{base}/introspect",
        revocation_endpoint=f"{base}/revoke",
        pushed_authorization_request_endpoint=f"{base}/par",
        device_authorization_endpoint=f"{base}/device_authorization",
        end_session_endpoint=f"{base}/logout",
        scopes_supported=sorted(ALL_SCOPES),
        response_types_supported=["code"],
        response_modes_supported=["query"],
        grant_types_supported=list(get_args(GrantType)),
        subject_types_supported=["public"],
        id_token_signing_alg_values_supported=["RS256"],
        token_endpoint_auth_methods_supported=_METHODS,
        token_endpoint_auth_signing_alg_values_supported=["ES256", "RS256", "EdDSA"],
        introspection_endpoint_auth_methods_supported=_CONFIDENTIAL,
        revocation_endpoint_auth_methods_supported=_METHODS,
        code_challenge_methods_supported=["S256"],
        dpop_signing_alg_values_supported=list(ALGORITHMS),
        claims_supported=[
            *("sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "at_hash"),
            *("preferred_username", "email", "email_verified"),
        ],
        acr_values_supported=[AAL1, AAL2],
        prompt_values_supported=["none", "login", "consent", "select_account"],
        ui_locales_supported=list(LANGUAGES),
        authorization_response_iss_parameter_supported=True,
        request_parameter_supported=False,
        request_uri_parameter_supported=False,
        claims_parameter_supported=False,
        backchannel_logout_supported=True,
        backchannel_logout_session_supported=True,
        service_documentation=f"{public_url}/docs",
    )
