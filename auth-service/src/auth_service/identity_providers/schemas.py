"""What the registry of identity providers takes and answers."""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from auth_service.identity_providers.models import IdentityProvider
from shared.field_errors import FieldRule
from shared.text import NAME
from shared.web.json_input import Input

OPENID_REQUIRED = FieldRule("openid_required", "Must have openid among its scopes, separated by spaces.")

_EXAMPLE: Final[dict[str, JsonValue]] = {
    "name": "Acme Workforce",
    "issuer": "https://login.acme.example",
    "client_id": "flotilla",
    "client_secret": "8bW1-2nQfPz7",
    "scope": "openid profile email",
}


def _has_openid(scope: str) -> str:
    if "openid" not in scope.split():
        raise OPENID_REQUIRED.broken()
    return scope


Name = Annotated[str, Field(min_length=1, max_length=60, description="What the sign-in page calls it."), NAME]
Scope = Annotated[
    str,
    Field(max_length=500, pattern=r"^[\x21\x23-\x5B\x5D-\x7E]+( [\x21\x23-\x5B\x5D-\x7E]+)*$"),
    AfterValidator(_has_openid),
]
Secret = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[\x20-\x7E]+$")]


class IdentityProviderIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": dict(_EXAMPLE)})

    name: Name
    issuer: Annotated[
        str, Field(max_length=500, description="As its discovery document spells it; https, no query or fragment.")
    ]
    client_id: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[\x20-\x7E]+$")]
    client_secret: Secret | None = Field(default=None, description="None for a public client.")
    scope: Scope = "openid profile email"
    fleet_wide: bool = Field(
        default=False, strict=True, description="For people of every tenant; needs the scope system:write."
    )


class IdentityProviderChanges(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"disabled": True}})

    name: Name | None = None
    client_secret: Secret | None = None
    scope: Scope | None = None
    disabled: bool | None = Field(default=None, strict=True, description="A disabled provider's sessions end.")


class IdentityProviderOut(BaseModel):
    """The client secret is never shown."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "0192f0c1-2b3c-7d4e-8f50-617283940a1b",
                **{name: value for name, value in _EXAMPLE.items() if name != "client_secret"},
                "tenant_id": "0192f0c1-2b3c-7d4e-8f50-617283940a1c",
                "redirect_uri": "https://app.example/auth/upstream/0192f0c1-2b3c-7d4e-8f50-617283940a1b/callback",
                "disabled": False,
                "created_at": "2026-01-05T09:30:00Z",
            }
        }
    )

    id: UUID
    tenant_id: UUID | None = Field(description="The tenant that it signs people in to; null: every tenant.")
    name: str
    issuer: str
    client_id: str
    scope: str
    redirect_uri: str = Field(description="To be registered at the issuer.")
    disabled: bool
    created_at: datetime

    @classmethod
    def of(cls, provider: IdentityProvider, public_url: str) -> "IdentityProviderOut":
        return cls(
            id=provider.id,
            tenant_id=provider.tenant_id,
            name=provider.name,
            issuer=provider.issuer,
            client_id=provider.client_id,
            scope=" ".join(provider.scopes),
            redirect_uri=redirect_uri(public_url, provider.id),
            disabled=provider.disabled_at is not None,
            created_at=provider.created_at,
        )


def redirect_uri(public_url: str, provider_id: UUID) -> str:
    """Where the issuer sends the browser back: an address for each provider (RFC 9700, section 4.4.2.2)."""
    return f"{public_url}/auth/upstream/{provider_id}/callback"
