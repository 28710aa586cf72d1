"""People for tests: internal tokens as the gateway would mint them, and the keys and trust file behind them."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID, uuid5

from shared.dev.fleet import GATEWAY, fleet, repository
from shared.dev.identity import write_identity
from shared.identity.keys import SigningKey
from shared.identity.principal import Principal
from shared.identity.scopes import scopes_of
from shared.identity.tokens import Signer
from shared.ids import new_id

_NAMES: Final = UUID("6d3f4c1e-0b8e-4b9b-9c55-3f6f1f0f7a11")


@dataclass(frozen=True)
class People:
    """Makes request headers for anyone, for the service `audience` under test. A name always has the same id.

    as_user("ann")                                    # role user in tenant acme, with what the role grants
    as_user("bob", tenant="globex", roles=["admin"])
    as_user("cy", scopes=["chat:read"])               # exactly these scopes
    as_user.service("tasks")                          # the service itself, no person
    """

    folder: Path
    audience: str
    keys: Mapping[str, SigningKey] = field(repr=False)

    @classmethod
    def made(cls, folder: Path, audience: str) -> "People":
        """With fresh keys in `folder` for every service of the fleet's list, and for `audience`."""
        return cls(folder, audience, write_identity(folder, fleet(repository()), {audience}))

    @property
    def trust_file(self) -> Path:
        return self.folder / "trust.json"

    def key_file(self, service: str) -> Path:
        return self.folder / f"{service}.pem"

    def id(self, name: str) -> UUID:
        """The id of the person of that name."""
        return uuid5(_NAMES, f"user {name}")

    def tenant_id(self, slug: str) -> UUID:
        return uuid5(_NAMES, f"tenant {slug}")

    def principal(
        self,
        name: str,
        *,
        tenant: str | UUID | None = "acme",
        roles: Iterable[str] = ("user",),
        scopes: Iterable[str] | None = None,
        tier: str = "enterprise",
        session_id: UUID | None = None,
        user_epoch: int = 0,
        membership_version: int = 1,
        lifetime_s: int = 600,
    ) -> Principal:
        """The person as a service sees them; without `scopes` they have all that their roles grant."""
        return Principal(
            user_id=self.id(name),
            username=name,
            tenant_id=self.tenant_id(tenant) if isinstance(tenant, str) else tenant,
            tenant_slug=tenant if isinstance(tenant, str) else None,
            roles=frozenset(roles),
            scopes=scopes_of(roles) if scopes is None else frozenset(scopes),
            tier=tier if tenant else None,
            session_id=session_id or new_id(),
            client_id="flotilla",
            token_id=str(new_id()),
            user_epoch=user_epoch,
            membership_version=membership_version if tenant else None,
            tenant_version=1 if tenant else None,
            expires_at=int(time.time()) + lifetime_s,
            issuer="http://localhost:8000",
        )

    def __call__(
        self,
        name: str,
        *,
        tenant: str | UUID | None = "acme",
        roles: Iterable[str] = ("user",),
        scopes: Iterable[str] | None = None,
        session_id: UUID | None = None,
        via: str | None = None,
    ) -> dict[str, str]:
        """Headers of a request that the gateway forwards, or that the service `via` makes for the person."""
        principal = self.principal(name, tenant=tenant, roles=roles, scopes=scopes, session_id=session_id)
        if via is not None:
            return self.headers(self.signer(via).sign_for(principal, self.audience))
        return self.headers(self.signer(GATEWAY).forward(principal, self.audience))

    def service(self, name: str) -> dict[str, str]:
        """Headers of a call that the service `name` makes for itself."""
        return self.headers(self.signer(name).sign_as_service(self.audience))

    def signer(self, service: str) -> Signer:
        return Signer(service, lambda: self.keys[service])

    @staticmethod
    def headers(token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}
