"""The signing key in memory: made at the first start, read again every few seconds so that a rotation reaches all."""

from typing import Final

from auth_service.keyring import Keyring
from auth_service.signing_keys import service
from shared.background import Backoff, PollingLoop
from shared.data.database import Database
from shared.identity.keys import SigningKey
from shared.problems import ServiceUnavailable

RELOAD_EVERY_S: Final = 5.0
_BACKOFF: Final = Backoff(first_s=0.5, most_s=RELOAD_EVERY_S)  # also until the database is migrated


class ActiveKey:
    """What this process signs access tokens with."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database, self._keyring = database, keyring
        self._key: SigningKey | None = None
        self.reloading = PollingLoop(
            "signing key", self.reload, every_s=RELOAD_EVERY_S, due=self._is_outdated, backoff=_BACKOFF
        )
        """Follows rotations. While the database is unavailable, the key in memory stays in use."""

    @property
    def key(self) -> SigningKey:
        """The active key as of a few seconds ago. Raises ServiceUnavailable before it was first read."""
        if self._key is None:
            raise ServiceUnavailable("The signing key is not loaded yet.")
        return self._key

    async def reload(self) -> None:
        """Read the active key now; make the first ones where there are none."""
        async with self._database.transaction() as db:
            await service.ensure(db, self._keyring)
            self._key = await service.active_key(db, self._keyring)

    async def _is_outdated(self) -> bool:
        return self._key is None or await self._database.finds(service.another_than(self._key.kid))

    async def check(self) -> str:
        """For readiness: whether there is a key to sign with."""
        return f"signing with {self.key.kid[:8]}"
