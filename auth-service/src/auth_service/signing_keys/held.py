"""The signing key in memory: made at the first start, read again every few seconds so that a rotation reaches all."""

import asyncio
from typing import Final

from auth_service.keyring import Keyring
from auth_service.signing_keys import service
from shared.data.database import Database
from shared.identity.keys import SigningKey
from shared.problems import ServiceUnavailable

RELOAD_EVERY_S: Final = 5.0
RETRY_EVERY_S: Final = 0.5  # while there is none yet: the database is away or not migrated


class HeldKey:
    """What this process signs access tokens with."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database, self._keyring = database, keyring
        self._key: SigningKey | None = None

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

    async def run(self) -> None:
        """Follow rotations, for ever; while the database is away the key in memory goes on signing."""
        while True:
            try:
                await self.reload()
            except ServiceUnavailable:
                await asyncio.sleep(RETRY_EVERY_S)
            else:
                await asyncio.sleep(RELOAD_EVERY_S)

    async def check(self) -> str:
        """For readiness: whether there is a key to sign with."""
        return f"signing with {self.key.kid[:8]}"
