"""The signing keys in memory: made at the first start, read again every few seconds so that a rotation reaches all."""

from typing import Final

from auth_service.keyring import Keyring
from auth_service.signing_keys import service
from shared.background import Backoff, PollingLoop
from shared.data.database import Database
from shared.identity.keys import Algorithm, SigningKey
from shared.problems import ServiceUnavailable

RELOAD_EVERY_S: Final = 5.0
_BACKOFF: Final = Backoff(first_s=0.5, most_s=RELOAD_EVERY_S)  # also until the database is migrated


class ActiveKey:
    """What this process signs with: one key for access tokens, one for ID tokens."""

    def __init__(self, database: Database, keyring: Keyring, *, rotate_every_d: int = 0) -> None:
        self._database, self._keyring, self._rotate_every_d = database, keyring, rotate_every_d
        self._keys: dict[Algorithm, SigningKey] = {}
        self.reloading = PollingLoop(
            "signing key", self.reload, every_s=RELOAD_EVERY_S, due=self._is_outdated, backoff=_BACKOFF
        )
        """Rotates keys that are due and follows rotations; while the database is unavailable, keys in memory sign."""

    @property
    def key(self) -> SigningKey:
        """The active key of access tokens (ES256), as of a few seconds ago. Raises ServiceUnavailable before that."""
        return self._active("ES256")

    @property
    def id_token_key(self) -> SigningKey:
        """The active key of ID tokens (RS256), as of a few seconds ago. Raises ServiceUnavailable before that."""
        return self._active("RS256")

    def _active(self, algorithm: Algorithm) -> SigningKey:
        if (key := self._keys.get(algorithm)) is None:
            raise ServiceUnavailable("The signing key is not loaded yet.")
        return key

    async def reload(self) -> None:
        """Read the active keys now; make the first ones where there are none, rotate those that are due."""
        async with self._database.transaction() as db:
            await service.ensure(db, self._keyring)
            await service.rotate_due(db, self._keyring, self._rotate_every_d)
            self._keys = await service.active_keys(db, self._keyring)

    async def _is_outdated(self) -> bool:
        kids = [key.kid for key in self._keys.values()]
        return not kids or await self._database.finds(service.outdated(kids, self._rotate_every_d))

    async def check(self) -> str:
        """For readiness: whether there are keys to sign with."""
        return f"signing with {self.key.kid[:8]} and {self.id_token_key.kid[:8]}"
