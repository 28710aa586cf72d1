"""A client as it is registered and shown: the metadata names of RFC 7591, section 2, and OpenID Connect's."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from auth_service.clients.models import AuthMethod, Client, GrantType
from auth_service.clients.redirect_uris import MAX_LENGTH, registered, registered_logout_uri
from shared.field_errors import FieldRule
from shared.identity.keys import KeyInvalid, verifying_key
from shared.identity.scopes import ALL_SCOPES, Role
from shared.text import NAME
from shared.web.json_input import Input

_MAX_URIS: Final = 20
_MAX_KEYS: Final = 10

UNKNOWN_SCOPE: Final = FieldRule("unknown_scope", "Must contain scopes that GET /oauth2/scopes lists, each once.")
RESOURCE: Final = FieldRule("resource", "Must be an absolute https or http URL without fragment or query.")
PUBLIC_KEYS: Final = FieldRule("public_keys", "Must be a set of 1 to 10 public keys for ES256, RS256 or EdDSA.")
REDIRECT_URI_MISSING: Final = FieldRule("redirect_uri_missing", "The authorization code grant requires redirect_uris.")
JWKS_MISSING: Final = FieldRule("jwks_missing", "private_key_jwt requires jwks.")
SECRET_REQUIRED: Final = FieldRule("secret_required", "Client credentials require a client that authenticates.")


def _scopes(value: str) -> str:
    names = value.split()
    if not ALL_SCOPES.issuperset(names) or len(set(names)) != len(names):
        raise UNKNOWN_SCOPE.broken()
    return value


def _resource(value: str) -> str:
    if not value.startswith(("https://", "http://")) or "#" in value or "?" in value or not value.isascii():
        raise RESOURCE.broken()
    return value


def _public_keys(value: dict[str, Any]) -> dict[str, Any]:
    keys = value.get("keys")
    if not isinstance(keys, list) or not 0 < len(keys) <= _MAX_KEYS:
        raise PUBLIC_KEYS.broken()
    try:
        for jwk in keys:
            verifying_key(jwk)
    except KeyInvalid:
        raise PUBLIC_KEYS.broken() from None
    return value


ClientName = Annotated[str, Field(min_length=1, max_length=60), NAME]
Uri = Annotated[str, Field(min_length=1, max_length=MAX_LENGTH)]
Uris = Annotated[list[Uri], Field(max_length=_MAX_URIS)]
LogoutUri = Annotated[Uri, AfterValidator(registered_logout_uri)]
PublicKeys = Annotated[dict[str, Any], AfterValidator(_public_keys)]
Resource = Annotated[str, Field(max_length=MAX_LENGTH), AfterValidator(_resource)]

_EXAMPLE: Final[dict[str, Any]] = {
    "client_name": "Planner",
    "redirect_uris": ["https://planner.example/callback"],
    "grant_types": ["authorization_code", "refresh_token"],
    "token_endpoint_auth_method": "client_secret_basic",
    "scope": "openid profile offline_access jobs:read",
}


class ClientMetadata(Input):
    """What a client may register itself with (RFC 7591, section 2)."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    client_name: ClientName
    application_type: Literal["web", "native"] = "web"
    redirect_uris: Uris = Field(default=[])
    post_logout_redirect_uris: Uris = Field(default=[])
    backchannel_logout_uri: LogoutUri | None = None
    grant_types: list[GrantType] = Field(default=["authorization_code"], min_length=1, max_length=10)
    response_types: list[Literal["code"]] = Field(default=["code"], max_length=1)
    token_endpoint_auth_method: AuthMethod = "client_secret_basic"  # noqa: S105 - a method's name
    jwks: PublicKeys | None = None
    scope: Annotated[str, Field(max_length=2000), AfterValidator(_scopes)] = Field(
        default="openid", description="The most that its tokens can have, separated by spaces."
    )
    resources: Annotated[list[Resource], Field(max_length=_MAX_URIS)] = Field(
        default=[], description="Audiences beside this API that its tokens may be for (RFC 8707)."
    )
    dpop_bound_access_tokens: bool = Field(default=False, description="Every token must be bound by DPoP (RFC 9449).")
    require_pushed_authorization_requests: bool = Field(default=False, description="RFC 9126, section 6.")

    @model_validator(mode="after")
    def _consistent(self) -> "ClientMetadata":
        native = self.application_type == "native"
        for uri in (*self.redirect_uris, *self.post_logout_redirect_uris):
            registered(uri, native=native)
        if "authorization_code" in self.grant_types and not self.redirect_uris:
            raise REDIRECT_URI_MISSING.broken()
        method: AuthMethod = self.token_endpoint_auth_method
        if method == "private_key_jwt" and self.jwks is None:
            raise JWKS_MISSING.broken()
        if method == "none" and "client_credentials" in self.grant_types:
            raise SECRET_REQUIRED.broken()
        return self


class RegistrationIn(ClientMetadata):
    """A dynamic registration: metadata that this server does not know is ignored (RFC 7591, section 2)."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"example": _EXAMPLE})


class ClientIn(ClientMetadata):
    """What an admin registers; the fields beside the metadata are never the client's own choice."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    roles: list[Role] = Field(default=[], max_length=10, description="What client-credentials tokens are granted by.")
    first_party: bool = Field(
        default=False,
        description="It asks for no consent, except as a public client at a loopback address or a private scheme. "
        "Requires system:write.",
    )
    fleet_wide: bool = Field(default=False, description="It is for people of every tenant. Requires system:write.")


class ClientChanges(Input):
    """A JSON Merge Patch (RFC 7396)."""

    model_config = ConfigDict(json_schema_extra={"example": {"client_name": "Planner 2", "disabled": False}})

    client_name: ClientName | None = None
    redirect_uris: Uris | None = None
    post_logout_redirect_uris: Uris | None = None
    backchannel_logout_uri: LogoutUri | None = Field(default=None, description="null: the client is not informed.")
    jwks: PublicKeys | None = Field(default=None, description="Replaces the keys that its assertions are signed with.")
    scope: Annotated[str, Field(max_length=2000), AfterValidator(_scopes)] | None = None
    disabled: bool | None = Field(default=None, description="A disabled client gets no tokens, and its tokens end.")


class ClientOut(BaseModel):
    """A registered client, without its secret."""

    client_id: UUID
    client_name: str = Field(examples=["Planner"])
    tenant_id: UUID | None
    application_type: Literal["web", "native"]
    redirect_uris: list[str] = Field(examples=[["https://planner.example/callback"]])
    post_logout_redirect_uris: list[str] = Field(examples=[["https://planner.example/"]])
    backchannel_logout_uri: str | None = Field(examples=[None])
    grant_types: list[str] = Field(examples=[["authorization_code", "refresh_token"]])
    response_types: list[str] = ["code"]
    token_endpoint_auth_method: str = Field(examples=["client_secret_basic"])
    jwks: dict[str, Any] | None = Field(examples=[None])
    scope: str = Field(examples=["openid offline_access jobs:read"])
    resources: list[str] = Field(examples=[[]])
    dpop_bound_access_tokens: bool
    require_pushed_authorization_requests: bool
    roles: list[str] = Field(examples=[[]])
    first_party: bool
    disabled: bool
    created_at: datetime

    @classmethod
    def of(cls, client: Client) -> "ClientOut":
        return cls(**_shown(client))


class NewClientOut(ClientOut):
    """The answer to a registration (RFC 7591, section 3.2.1)."""

    client_id_issued_at: int = Field(description="Epoch seconds.", examples=[1767605400])
    client_secret: str | None = Field(
        default=None, description="Shown once; only its hash is stored.", examples=["q3mZ0w…"]
    )
    client_secret_expires_at: int = Field(default=0, description="0: it does not expire.")

    @classmethod
    def made(cls, client: Client, secret: str | None) -> "NewClientOut":
        issued_at = int(client.created_at.timestamp())
        return cls(**_shown(client), client_id_issued_at=issued_at, client_secret=secret)


class SecretOut(BaseModel):
    client_secret: str = Field(description="Shown once; the one before is no longer accepted.", examples=["q3mZ0w…"])


def _shown(client: Client) -> dict[str, Any]:
    return {
        "client_id": client.id,
        "client_name": client.name,
        "tenant_id": client.tenant_id,
        "application_type": "native" if client.native else "web",
        "redirect_uris": client.redirect_uris,
        "post_logout_redirect_uris": client.post_logout_redirect_uris,
        "backchannel_logout_uri": client.backchannel_logout_uri,
        "grant_types": client.grant_types,
        "token_endpoint_auth_method": client.auth_method,
        "jwks": client.jwks,
        "scope": " ".join(client.scopes),
        "resources": client.resources,
        "dpop_bound_access_tokens": client.dpop_bound,
        "require_pushed_authorization_requests": client.require_par,
        "roles": client.roles,
        "first_party": client.first_party,
        "disabled": client.disabled_at is not None,
        "created_at": client.created_at,
    }
