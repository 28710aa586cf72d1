"""What this API says about itself as an OAuth resource (RFC 9728), so that a client finds its authorization server."""

from typing import Final

from pydantic import BaseModel

from shared.identity.dpop import ALGORITHMS
from shared.identity.scopes import ALL_SCOPES

PATH: Final = "/.well-known/oauth-protected-resource"


class ProtectedResource(BaseModel):
    """RFC 9728, section 2."""

    resource: str
    authorization_servers: list[str]
    jwks_uri: str
    scopes_supported: list[str]
    bearer_methods_supported: list[str]
    dpop_signing_alg_values_supported: list[str]
    resource_name: str
    resource_documentation: str


def protected_resource(public_url: str) -> ProtectedResource:
    """The metadata of the API at PUBLIC_URL, whose issuer has the same URL."""
    return ProtectedResource(
        resource=public_url,
        authorization_servers=[public_url],
        jwks_uri=f"{public_url}/oauth2/jwks.json",
        scopes_supported=sorted(ALL_SCOPES),
        bearer_methods_supported=["header"],
        dpop_signing_alg_values_supported=list(ALGORITHMS),
        resource_name="Flotilla",
        resource_documentation=f"{public_url}/docs",
    )


def challenge_parameter(public_url: str) -> str:
    """What a challenge adds, so that a client finds the metadata (section 5.1)."""
    return f', resource_metadata="{public_url}{PATH}"'
