"""How a client proves at an endpoint that it is the registered one (OpenID Connect Core 1.0, section 9).

By its one registered method: a secret in the Authorization header or in the form, a signed assertion (RFC 7523), or
none for a public client, which only says its `client_id`.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote_plus
from uuid import UUID

import jwt
from sqlalchemy import Uuid, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.clients.models import AuthMethod, Client, UsedAssertion
from auth_service.clients.service import digest
from auth_service.memberships.models import Tenant
from auth_service.oauth_errors import InvalidClient, OAuthError
from shared.data.prepared import Columns, Prepared, Row
from shared.identity.keys import VerifyingKey, verifying_key

JWT_BEARER: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_ASSERTION_S: Final = 300
_LEEWAY_S: Final = 30
_REQUIRED: Final = ["iss", "sub", "aud", "exp", "jti"]


COLUMNS: Final = Columns(Client)
_TENANT: Final = Columns(Tenant, COLUMNS.end)
BY_ID: Final = Prepared(
    select(*COLUMNS.all, *_TENANT.all)
    .outerjoin(Tenant, Tenant.id == Client.tenant_id)
    .where(Client.id == bindparam("client_id", type_=Uuid))
)
"""A client, and its tenant."""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A client, and its tenant; None for a client of the fleet, and while the tenant is not known here."""

    client: Client
    tenant: Tenant | None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request says about its client."""

    client_id: UUID
    method: AuthMethod
    secret: str = ""


def credentials(authorization: str | None, form: Mapping[str, str]) -> Credentials:
    """The client that a request names, and its proof. Raises InvalidClient; OAuthError for two proofs at once."""
    found = [method for method in ("client_secret", "client_assertion") if method in form]
    if len(found) + (authorization is not None) > 1:
        raise OAuthError("invalid_request", "The client must authenticate by one method.")
    if authorization is not None:
        return _basic(authorization, form.get("client_id"))
    if "client_assertion" in form:
        return _assertion(form)
    client_id = _client_id(form.get("client_id", ""))
    if "client_secret" in form:
        return Credentials(client_id, "client_secret_post", form["client_secret"])
    return Credentials(client_id, "none")


def authenticated(row: Row | None, shown: Credentials) -> Client:
    """The enabled client of a row of BY_ID, if it has these credentials. Raises InvalidClient.

    An assertion is not verified here: `check_assertion` also stores that it was used.
    """
    client = None if row is None else COLUMNS.read(row)
    if client is None or client.disabled_at is not None or client.auth_method != shown.method:
        raise InvalidClient
    proven = shown.method in ("none", "private_key_jwt")
    if not proven and not hmac.compare_digest(client.secret_digest or b"", digest(shown.secret)):
        raise InvalidClient
    return client


def tenant_of(row: Row) -> Tenant | None:
    """The client's tenant, of a row of BY_ID."""
    return None if row[_TENANT.start] is None else _TENANT.read(row)


async def prune(db: AsyncSession) -> None:
    """Forget assertions that have expired."""
    await db.execute(delete(UsedAssertion).where(UsedAssertion.expires_at < func.now()))


def _basic(authorization: str, in_form: str | None) -> Credentials:
    """HTTP Basic, both parts form-encoded (RFC 6749, section 2.3.1)."""
    scheme, _, encoded = authorization.partition(" ")
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise InvalidClient from None
    name, separator, secret = decoded.partition(":")
    if scheme.lower() != "basic" or not separator or (in_form is not None and in_form != unquote_plus(name)):
        raise InvalidClient
    return Credentials(_client_id(unquote_plus(name)), "client_secret_basic", unquote_plus(secret))


def _assertion(form: Mapping[str, str]) -> Credentials:
    if form.get("client_assertion_type") != JWT_BEARER:
        raise OAuthError("invalid_request", f"client_assertion_type must be {JWT_BEARER}.")
    assertion = form["client_assertion"]
    try:
        named = jwt.decode(assertion, options={"verify_signature": False}).get("sub")
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise InvalidClient from None
    if not isinstance(named, str) or form.get("client_id", named) != named:
        raise InvalidClient
    return Credentials(_client_id(named), "private_key_jwt", assertion)


def _client_id(text: str) -> UUID:
    try:
        value = UUID(text)
    except ValueError:
        raise InvalidClient from None
    if str(value) != text:  # one client has one spelling
        raise InvalidClient
    return value


async def check_assertion(db: AsyncSession, client: Client, assertion: str, audiences: frozenset[str]) -> None:
    """Accept the assertion once; `audiences` are what it may be for. Raises InvalidClient."""
    claims = _verified(client, assertion, audiences)
    if type(claims["exp"]) not in (int, float):  # PyJWT takes a text of digits as well
        raise InvalidClient("The assertion's `exp` must be a number.")
    remaining_s = claims["exp"] - datetime.now(UTC).timestamp()
    if remaining_s > MAX_ASSERTION_S + _LEEWAY_S or not isinstance(claims["jti"], str):
        raise InvalidClient(f"The assertion must have a `jti` and expire within {MAX_ASSERTION_S} seconds.")
    row = insert(UsedAssertion).values(
        digest=hashlib.sha256(f"{client.id} {claims['jti']}".encode("utf-8", "replace")).digest(),
        expires_at=datetime.fromtimestamp(claims["exp"] + _LEEWAY_S, UTC),
    )
    if (await db.execute(row.on_conflict_do_nothing().returning(UsedAssertion.digest))).first() is None:
        raise InvalidClient("The assertion was used before.")


def _verified(client: Client, assertion: str, audiences: frozenset[str]) -> dict[str, Any]:
    """The assertion's claims. The key's type decides the algorithm; the header chooses a key only."""
    for key in _keys(client, assertion):
        try:
            return jwt.decode(
                assertion,
                key.key,
                [key.algorithm],
                {"require": _REQUIRED},
                audience=list(audiences),
                issuer=str(client.id),
                leeway=_LEEWAY_S,
            )
        except (jwt.PyJWTError, ValueError, RecursionError):
            continue
    raise InvalidClient


def _keys(client: Client, assertion: str) -> list[VerifyingKey]:
    known = [verifying_key(jwk) for jwk in (client.jwks or {}).get("keys", [])]
    try:
        kid = jwt.get_unverified_header(assertion).get("kid")
    except jwt.PyJWTError:
        raise InvalidClient from None
    return known if kid is None else [key for key in known if key.kid == kid]
