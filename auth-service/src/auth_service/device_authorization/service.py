"""Codes of devices: made for a client, found by what the person types, polled for and spent by the device."""

import hashlib
import re
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import Account
from auth_service.authorization.request import audience, is_allowed_resource
from auth_service.clients.models import Client
from auth_service.device_authorization.models import INTERVAL_S, TTL_S, DeviceCode
from auth_service.oauth_errors import Error, OAuthError
from shared.problems import NotFound, TooManyRequests

GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
_SLOWER_S: Final = 5  # RFC 8628, section 3.5
_EARLY_S: Final = 0.5  # a poll on time may arrive a little early
_KEPT: Final = timedelta(hours=1)  # so that a late poll gets expired_token

_RANDOM_BYTES: Final = 32
_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels, so no words: 34 bits in eight (RFC 8628, section 6.1)
_GROUP: Final = 4
_USER_CODE: Final = re.compile(f"[{_LETTERS}]{{{2 * _GROUP}}}")
_TRIES: Final = 5


class DeviceCodeUnknown(NotFound):
    """No device waits for this code: it was mistyped, has expired, or was answered before."""

    status, title = 404, "No device waits for this code"
    remedy = "Check the code that the device shows, or start again on the device."
    keeps_writes = True  # the failure that is counted


class DeviceGuessesThrottled(TooManyRequests):
    """Too many wrong codes were entered recently by this account or from this address."""

    status, title = 429, "Too many wrong codes"
    remedy = "Wait for the seconds in `Retry-After`."


class PollRefused(OAuthError):
    """The person has not answered yet, or the device asks too often; the poll is recorded."""

    keeps_writes = True


async def issue(db: AsyncSession, client: Client, form: Mapping[str, str], public_url: str) -> tuple[str, str]:
    """A new device code and the user code for it. Raises OAuthError (RFC 8628, section 3.1)."""
    if GRANT not in client.grant_types:
        raise OAuthError("unauthorized_client", "The client is not registered for the device grant.")
    scopes = set(form.get("scope", " ".join(client.scopes)).split()).intersection(client.scopes)
    if not scopes:
        raise OAuthError("invalid_scope", "None of the scopes is one that the client is registered for.")
    resource = form.get("resource")
    if resource is not None and not is_allowed_resource(client, resource, public_url):
        raise OAuthError("invalid_target", "The client's tokens cannot be for this resource.")
    device_code = secrets.token_urlsafe(_RANDOM_BYTES)
    row = insert(DeviceCode).values(
        digest=_digest(device_code),
        client_id=client.id,
        scopes=sorted(scopes),
        audience=audience(resource, public_url),
        interval_s=INTERVAL_S,
        expires_at=func.now() + timedelta(seconds=TTL_S),
    )
    for _ in range(_TRIES):
        user_code = "".join(secrets.choice(_LETTERS) for _ in range(2 * _GROUP))
        added = row.values(user_code=user_code).on_conflict_do_nothing(index_elements=["user_code"])
        if await db.scalar(added.returning(DeviceCode.user_code)) is not None:
            return device_code, shown(user_code)
    raise OAuthError("temporarily_unavailable", "Too many devices wait for an answer. Try again in a minute.")


def shown(user_code: str) -> str:
    """The code as people read it: in two groups."""
    return f"{user_code[:_GROUP]}-{user_code[_GROUP:]}"


def typed(text: str) -> str | None:
    """The code that a person typed, with or without the hyphen, in any case; None for what cannot be one."""
    letters = re.sub(r"[\s\-]", "", text[:40]).upper()
    return letters if _USER_CODE.fullmatch(letters) else None


async def find(db: AsyncSession, user_code: str, *, lock: bool = False) -> tuple[DeviceCode, Client] | None:
    """The pending request with that code and its client; None when no device waits for it."""
    found = select(DeviceCode, Client).join(Client, Client.id == DeviceCode.client_id).where(*_pending(user_code))
    row = (await db.execute(found.with_for_update(of=DeviceCode) if lock else found)).one_or_none()
    return None if row is None else (row[0], row[1])


async def poll(db: AsyncSession, client: Client, form: Mapping[str, str]) -> DeviceCode:
    """The request that was allowed, locked with its account until the transaction ends.

    The caller stores the session in it. One that is allowed at this moment is found by the next poll.

    Raises OAuthError, PollRefused (RFC 8628, section 3.5).
    """
    digest = _digest(form.get("device_code", ""))
    found = await db.get(DeviceCode, digest)
    allowed_by = found.account_id if found is not None else None
    if allowed_by is not None:
        await db.get(Account, allowed_by, with_for_update={"key_share": True})  # before the code
    device = await db.get(DeviceCode, digest, with_for_update=True, populate_existing=True)
    now = await db.scalar(select(func.clock_timestamp()))
    if device is None or device.client_id != client.id:
        raise OAuthError("invalid_grant", "The device_code is unknown, or another client's.")
    if device.session_id is not None:
        raise OAuthError("invalid_grant", "The device_code was used before.")
    if device.refused_at is not None:
        raise OAuthError("access_denied", "The person refused.")
    if now is None or device.expires_at <= now:
        raise OAuthError("expired_token", "The device_code has expired. Ask for a new one.")
    if device.account_id is not None and device.account_id == allowed_by:
        return device
    error: Error = "authorization_pending"
    if device.polled_at is not None and (now - device.polled_at).total_seconds() < device.interval_s - _EARLY_S:
        error, device.interval_s = "slow_down", device.interval_s + _SLOWER_S
    device.polled_at = now
    raise PollRefused(error, f"The person has not answered yet. Poll every {device.interval_s} seconds.")


async def prune(db: AsyncSession) -> None:
    """Delete the codes that expired an hour ago."""
    await db.execute(delete(DeviceCode).where(DeviceCode.expires_at < func.now() - _KEPT))


def _pending(user_code: str) -> tuple[ColumnElement[bool], ...]:
    return (
        DeviceCode.user_code == user_code,
        DeviceCode.account_id.is_(None),
        DeviceCode.refused_at.is_(None),
        DeviceCode.expires_at > func.clock_timestamp(),
        Client.disabled_at.is_(None),
    )


def _digest(device_code: str) -> bytes:
    return hashlib.sha256(device_code.encode("utf-8", "replace")).digest()
