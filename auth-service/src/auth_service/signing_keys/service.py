"""Making, rotating and reading the signing keys: for each algorithm a next, an active and the retired ones."""

import asyncio
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final, get_args

from sqlalchemy import ColumnElement, Select, and_, delete, exists, false, func, not_, or_, select, text, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from auth_service.audit import service as audit
from auth_service.keyring import Keyring
from auth_service.signing_keys.models import Status, StoredKey
from shared.identity.access_tokens import LONGEST_TTL_S
from shared.identity.keys import (
    Algorithm,
    SigningKey,
    VerifyingKey,
    generate_key,
    parse_private_key,
    private_pem,
    verifying_key,
)
from shared.problems import Conflict

ALGORITHMS: Final[tuple[Algorithm, ...]] = get_args(Algorithm)
RETIRED_KEPT_S: Final = (
    LONGEST_TTL_S + 300
)  # the last token it signed, replicas that were slow to see the rotation, clocks
PUBLISHED_BEFORE_USE_S: Final = 120  # verifiers fetch the key set once a minute

_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('flotilla signing keys'))")


class NextKeyTooYoung(Conflict):
    """The next key was published less than two minutes ago, so a verifier may not know it yet."""

    status, title = 409, "The next key is too young to sign"
    remedy = "Rotate again in two minutes; `--force` does it now."


async def ensure(db: AsyncSession, keyring: Keyring) -> None:
    """Make the first active and next key of each algorithm if there are none; safe to call from several replicas."""
    if not await _missing(db):
        return
    await db.execute(_LOCK)
    for algorithm, status in await _missing(db):
        await _add(db, keyring, algorithm, status)


async def rotate(db: AsyncSession, keyring: Keyring, algorithm: Algorithm = "ES256", *, force: bool = False) -> str:
    """Retire the algorithm's active key, sign with the next one from now on, and publish a new next one.

    Returns the new active kid. Raises NextKeyTooYoung unless `force`.
    """
    await ensure(db, keyring)
    await db.execute(_LOCK)
    return await _rotate(db, keyring, algorithm, force=force)


async def rotate_due(db: AsyncSession, keyring: Keyring, every_d: int) -> None:
    """Rotate the keys that have signed for `every_d` days (0: none); the replica that is first does it for all."""
    if not list(await db.scalars(_due(every_d))):
        return
    await db.execute(_LOCK)
    for algorithm in list(await db.scalars(_due(every_d))):
        await _rotate(db, keyring, algorithm, force=False)


async def _rotate(db: AsyncSession, keyring: Keyring, algorithm: Algorithm, *, force: bool) -> str:
    active, following = await _by_status(db, algorithm, "active"), await _by_status(db, algorithm, "next")
    now: datetime = (await db.execute(select(func.now()))).scalar_one()
    if not force and now - following.created_at < timedelta(seconds=PUBLISHED_BEFORE_USE_S):
        raise NextKeyTooYoung
    active.status, active.retired_at = "retired", now
    await db.flush()  # one statement at a time: the unique index allows one active key
    following.status, following.activated_at = "active", now
    await db.flush()
    await _add(db, keyring, algorithm, "next")
    audit.record(db, "signing_key_rotated", algorithm=algorithm, kid=following.kid, retired=active.kid, forced=force)
    return following.kid


async def published(db: AsyncSession) -> list[dict[str, Any]]:
    """The public JWKs that verifiers may meet: next, active, and retired ones whose tokens may still live."""
    return [key.public_jwk for key in await db.scalars(_living().order_by(StoredKey.created_at, StoredKey.kid))]


async def verifying(db: AsyncSession, kid: str) -> VerifyingKey | None:
    """The public key of that name, if tokens signed by it may still be valid; None otherwise."""
    jwk = await db.scalar(select(StoredKey.public_jwk).where(StoredKey.kid == kid, _is_living()))
    return None if jwk is None else verifying_key(jwk)


async def active_keys(db: AsyncSession, keyring: Keyring) -> dict[Algorithm, SigningKey]:
    """The keys that sign now. Raises CannotDecrypt where the encryption key is not the one they were sealed with."""
    stored = await db.scalars(select(StoredKey).where(StoredKey.status == "active"))
    return {key.algorithm: _opened(key, keyring) for key in stored}


def outdated(kids: Collection[str], every_d: int) -> Select[bool]:
    """Whether any of `kids` is no longer active or has signed for `every_d` days, or an algorithm has no next key."""
    active = [exists().where(StoredKey.status == "active", StoredKey.kid == kid) for kid in kids]
    following = [exists().where(StoredKey.status == "next", StoredKey.algorithm == name) for name in ALGORITHMS]
    return select(or_(not_(and_(*active, *following)), _due(every_d).exists()))


async def listed(db: AsyncSession) -> list[StoredKey]:
    """Every key there is, the newest first."""
    return list(await db.scalars(select(StoredKey).order_by(StoredKey.created_at.desc(), StoredKey.kid)))


async def prune(db: AsyncSession) -> None:
    """Forget the keys that verify nothing any more."""
    await db.execute(delete(StoredKey).where(StoredKey.status == "retired", StoredKey.retired_at < _oldest_kept()))


def _due(every_d: int) -> Select[Algorithm]:
    """The algorithms whose active key has signed for `every_d` days (0: none) and whose next one is known by now."""
    following = aliased(StoredKey)
    now, age = func.now(), timedelta(days=every_d)
    known = following.created_at <= now - timedelta(seconds=PUBLISHED_BEFORE_USE_S)
    return (
        select(StoredKey.algorithm)
        .join(following, and_(following.algorithm == StoredKey.algorithm, following.status == "next", known))
        .where(StoredKey.status == "active", StoredKey.activated_at <= now - age, true() if every_d else false())
    )


def _living() -> Any:
    return select(StoredKey).where(_is_living())


def _is_living() -> ColumnElement[bool]:
    return or_(StoredKey.status != "retired", StoredKey.retired_at >= _oldest_kept())


def _oldest_kept() -> Any:
    return func.now() - timedelta(seconds=RETIRED_KEPT_S)


async def _missing(db: AsyncSession) -> list[tuple[Algorithm, Status]]:
    rows = await db.execute(select(StoredKey.algorithm, StoredKey.status).where(StoredKey.status != "retired"))
    present = {(algorithm, status) for algorithm, status in rows}
    wanted: list[tuple[Algorithm, Status]] = [(name, status) for name in ALGORITHMS for status in ("active", "next")]
    return [each for each in wanted if each not in present]


async def _by_status(db: AsyncSession, algorithm: Algorithm, status: Status) -> StoredKey:
    which = (StoredKey.algorithm == algorithm, StoredKey.status == status)
    return (await db.execute(select(StoredKey).where(*which))).scalar_one()


def _opened(stored: StoredKey, keyring: Keyring) -> SigningKey:
    return parse_private_key(keyring.decrypt(stored.private_sealed, context=stored.kid), stored.algorithm)


async def _add(db: AsyncSession, keyring: Keyring, algorithm: Algorithm, status: Status) -> None:
    key = await asyncio.to_thread(generate_key, algorithm)
    db.add(
        StoredKey(
            kid=key.kid,
            algorithm=algorithm,
            status=status,
            public_jwk=key.public_jwk,
            private_sealed=keyring.encrypt(private_pem(key), context=key.kid),
            activated_at=func.now() if status == "active" else None,
        )
    )
    await db.flush()
