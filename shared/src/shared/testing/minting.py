"""Access tokens made offline, for the tests of a service outside the fleet: no issuer runs, and no network is used."""

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID, uuid5

from shared.identity.access_tokens import sign_access_token
from shared.identity.keys import SigningKey, generate_key
from shared.identity.principal import Principal
from shared.ids import new_id

_NAMES: Final = UUID("5f0f1f5a-6f3c-4c1e-9d0e-0d4b9f6a7c21")


class Mint:
    """Plays the issuer at `issuer`: `token` signs, `fetch` is what `ResourceServer(…, fetch=mint.fetch)` reads."""

    def __init__(self, issuer: str, audience: str | None = None) -> None:
        self.issuer, self.audience = issuer, audience or issuer
        self.key = generate_key()

    async def fetch(self) -> Mapping[str, Any]:
        """The key set."""
        return {"keys": [self.key.public_jwk]}

    def token(
        self,
        username: str,
        *,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = ("user",),
        tenant: str = "acme",
        lifetime_s: int = 600,
        key: SigningKey | None = None,
        issuer: str | None = None,
        audience: str | None = None,
        dpop_jkt: str | None = None,
    ) -> str:
        """An access token of the person, who has the same id each time. `issuer`, `audience`, `key` make it invalid."""
        now = int(time.time())
        person = Principal(
            user_id=uuid5(_NAMES, username),
            username=username,
            tenant_id=uuid5(_NAMES, f"tenant {tenant}"),
            tenant_slug=tenant,
            roles=frozenset(roles),
            scopes=frozenset(scopes),
            tier="free",
            session_id=new_id(),
            client_id="flotilla",
            token_id=str(new_id()),
            user_epoch=0,
            expires_at=now + lifetime_s,
            issuer=issuer or self.issuer,
            dpop_jkt=dpop_jkt,
        )
        return sign_access_token(
            person.to_claims(),
            key or self.key,
            issuer=issuer or self.issuer,
            audience=audience or self.audience,
            now=now,
        )

    def headers(self, username: str, **about: Any) -> dict[str, str]:
        """What a client sends with the token."""
        return {"Authorization": f"Bearer {self.token(username, **about)}"}
