"""Making, rotating and reading the signing keys."""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Select, delete, exists, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.keyring import Keyring
from auth_service.signing_keys.models import Status, StoredKey
from shared.identity.access_tokens import ACCESS_TTL_S
from shared.identity.keys import SigningKey, generate_key, parse_private_key, private_pem
from shared.problems import Conflict

RETIRED_KEPT_S: Final = (
    ACCESS_TTL_S + 300
)  # the last token it signed, replicas that were slow to see the rotation, clocks
PUBLISHED_BEFORE_USE_S: Final = 120  # verifiers fetch the key set once a minute

_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('flotilla signing keys'))")


class NextKeyTooYoung(Conflict):
    """The next key was published less than two minutes ago, so a verifier may not know it yet."""

    status, title = 409, "The next key is too young to sign"
    remedy = "Rotate again in two minutes; `--force` does it now."


async def ensure(db: AsyncSession, keyring: Keyring) -> None:
    """Make the first active and next key if there are none; safe to call from several replicas."""
    if await _current(db) >= {"active", "next"}:
        return
    await db.execute(_LOCK)
    present = await _current(db)
    for status in ("active", "next"):
        if status not in present:
            await _add(db, keyring, status)


async def rotate(db: AsyncSession, keyring: Keyring, *, force: bool = False) -> str:
    """Retire the active key, sign with the next one from now on, and publish a new next one.

    Returns the new active kid. Raises NextKeyTooYoung unless `force`.
    """
    await ensure(db, keyring)
    await db.execute(_LOCK)
    active, following = await _by_status(db, "active"), await _by_status(db, "next")
    now: datetime = (await db.execute(select(func.now()))).scalar_one()
    if not force and now - following.created_at < timedelta(seconds=PUBLISHED_BEFORE_USE_S):
        raise NextKeyTooYoung
    active.status, active.retired_at = "retired", now
    await db.flush()  # one statement at a time: the unique index allows one active key
    following.status, following.activated_at = "active", now
    await db.flush()
    await _add(db, keyring, "next")
    return following.kid


async def published(db: AsyncSession) -> list[dict[str, Any]]:
    """The public JWKs that verifiers may meet: next, active, and retired ones whose tokens may still live."""
    return [key.public_jwk for key in await db.scalars(_living().order_by(StoredKey.created_at))]


async def active_key(db: AsyncSession, keyring: Keyring) -> SigningKey:
    """The key that signs now. Raises CannotDecrypt where the encryption key is not the one it was sealed with."""
    stored = await _by_status(db, "active")
    return parse_private_key(keyring.decrypt(stored.private_sealed, context=stored.kid))


def another_than(kid: str) -> Select[bool]:
    """Whether `kid` is no longer the active key, or there is no next one."""
    active = exists().where(StoredKey.status == "active", StoredKey.kid == kid)
    return select(~(active & exists().where(StoredKey.status == "next")))


async def listed(db: AsyncSession) -> list[StoredKey]:
    """Every key there is, the newest first."""
    return list(await db.scalars(select(StoredKey).order_by(StoredKey.created_at.desc())))


async def prune(db: AsyncSession) -> None:
    """Forget the keys that verify nothing any more."""
    await db.execute(delete(StoredKey).where(StoredKey.status == "retired", StoredKey.retired_at < _oldest_kept()))


def _living() -> Any:
    return select(StoredKey).where(or_(StoredKey.status != "retired", StoredKey.retired_at >= _oldest_kept()))


def _oldest_kept() -> Any:
    return func.now() - timedelta(seconds=RETIRED_KEPT_S)


async def _current(db: AsyncSession) -> set[str]:
    return set(await db.scalars(select(StoredKey.status).where(StoredKey.status != "retired")))


async def _by_status(db: AsyncSession, status: Status) -> StoredKey:
    return (await db.execute(select(StoredKey).where(StoredKey.status == status))).scalar_one()


async def _add(db: AsyncSession, keyring: Keyring, status: Status) -> None:
    key = generate_key()
    db.add(
        StoredKey(
            kid=key.kid,
            algorithm="ES256",
            status=status,
            public_jwk=key.public_jwk,
            private_sealed=keyring.encrypt(private_pem(key), context=key.kid),
            activated_at=func.now() if status == "active" else None,
        )
    )
    await db.flush()
