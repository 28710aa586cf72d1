"""Idempotency-Key on creating POSTs: a repeat gets the first answer, stored in the transaction that made it.

Draft: IETF httpapi Idempotency-Key header. A key belongs to a person, tenant, method and path and is kept for 24 hours.
"""

import hashlib
from collections.abc import Mapping
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Request
from pydantic import BaseModel
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from shared.identity.access import CurrentUser
from shared.problems import Conflict, InvalidInput, MalformedRequest, raises
from shared.web.early_responses import Replayed
from shared.web.idempotency_keys import OLD, IdempotencyKey
from shared.web.session import Db


class StillRunning(Conflict):
    """The first request with this Idempotency-Key is still running."""

    status, title = 409, "The first request with this key is still running"
    remedy = "Wait a moment and repeat the same request."


class KeyReused(InvalidInput):
    """This Idempotency-Key was already used with another body."""

    status, title = 422, "The Idempotency-Key belongs to another request"
    remedy = "Use a new key for every new request; repeat a key only with the same body."


class IdempotentRequest:
    """One creating request, done once. Without a key every call runs."""

    def __init__(
        self, db: AsyncSession, user_id: UUID, tenant_id: UUID | None, operation: str, key: str | None
    ) -> None:
        self._db, self._user_id, self._tenant_id, self._operation, self._key = db, user_id, tenant_id, operation, key

    async def begin(self, fingerprint: bytes) -> None:
        """Claim the key for the request with this `fingerprint` (the body; an upload: its fields and sha256).

        Raises Replayed, StillRunning or KeyReused where the key came before.
        """
        if self._key is None or self._tenant_id is None:
            return
        digest = hashlib.sha256(fingerprint).digest()
        lock = select(func.pg_try_advisory_xact_lock(func.hashtextextended(self._lock_name, 0)))
        if not await self._db.scalar(lock):
            raise StillRunning
        await self._forget_old_ones()
        if (row := await self._find()) is None:
            self._db.add(self._row(digest))
            await self._db.flush()
        elif row.status is None:  # its request was refused and kept its writes: there is no answer to repeat
            row.fingerprint = digest
        elif row.fingerprint != digest:
            raise KeyReused
        else:
            raise Replayed(row.body or b"", row.status or 200, row.headers)

    async def keep(self, answer: BaseModel, status: int, headers: Mapping[str, str] | None = None) -> None:
        """Store the answer for repeats, in the same transaction as what it speaks of."""
        if self._key is None or self._tenant_id is None:
            return
        if (row := await self._find()) is not None:
            row.status, row.headers, row.body = status, dict(headers or {}), answer.model_dump_json().encode()

    async def _forget_old_ones(self) -> None:
        """A key counts for 24 hours to the second, whenever the table was last pruned."""
        own = (IdempotencyKey.tenant_id == self._tenant_id, IdempotencyKey.user_id == self._user_id)
        await self._db.execute(delete(IdempotencyKey).where(*own, OLD))

    @property
    def _lock_name(self) -> str:
        return f"idempotency {self._tenant_id} {self._user_id} {self._operation} {self._key}"

    async def _find(self) -> IdempotencyKey | None:
        return await self._db.get(IdempotencyKey, (self._tenant_id, self._user_id, self._key, self._operation))

    def _row(self, digest: bytes) -> IdempotencyKey:
        assert self._key is not None  # noqa: S101 - begin() has looked
        assert self._tenant_id is not None  # noqa: S101 - as above
        return IdempotencyKey(
            tenant_id=self._tenant_id,
            user_id=self._user_id,
            key=self._key,
            operation=self._operation,
            fingerprint=digest,
        )


_KeyHeader = Annotated[
    str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")
]


@raises(MalformedRequest, StillRunning, KeyReused)
async def idempotent_upload(request: Request, db: Db, user: CurrentUser, key: _KeyHeader = None) -> IdempotentRequest:
    """For uploads: the operation calls `begin` itself, once it knows the content's sha256."""
    if len(request.headers.getlist("Idempotency-Key")) > 1:
        raise MalformedRequest("Send one Idempotency-Key.")
    return IdempotentRequest(db, user.user_id, user.tenant_id, f"{request.method} {request.url.path}", key)


IdempotentUpload = Annotated[IdempotentRequest, Depends(idempotent_upload)]


async def idempotent_json(request: Request, idempotent: IdempotentUpload) -> IdempotentRequest:
    """For JSON bodies: the key belongs to the body."""
    await idempotent.begin(await request.body())
    return idempotent


IdempotentJson = Annotated[IdempotentRequest, Depends(idempotent_json)]
