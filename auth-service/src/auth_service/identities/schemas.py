from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from auth_service.identities.models import Identity
from auth_service.identity_providers.models import IdentityProvider


class ProviderOut(BaseModel):
    id: UUID
    name: str
    issuer: str


class IdentityOut(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "0192f0c1-2b3c-7d4e-8f50-617283940a1d",
                "provider": {
                    "id": "0192f0c1-2b3c-7d4e-8f50-617283940a1b",
                    "name": "Acme Workforce",
                    "issuer": "https://login.acme.example",
                },
                "email": "ann@acme.example",
                "created_at": "2026-01-05T09:30:00Z",
                "last_used_at": "2026-02-01T08:00:00Z",
            }
        }
    )

    id: UUID
    provider: ProviderOut
    email: str | None
    created_at: datetime
    last_used_at: datetime

    @classmethod
    def of(cls, identity: Identity, provider: IdentityProvider) -> "IdentityOut":
        return cls(
            id=identity.id,
            provider=ProviderOut(id=provider.id, name=provider.name, issuer=provider.issuer),
            email=identity.email,
            created_at=identity.created_at,
            last_used_at=identity.last_used_at,
        )
