"""The WebAuthn ceremonies (Level 3, section 7): a challenge of this server, answered once by the person's passkey.

The device verifies the person (by a PIN or biometrics) each time, so that a passkey alone is two factors.
"""

import base64
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import parse_registration_credential_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.parse_attestation_object import parse_attestation_object
from webauthn.helpers.structs import (
    AttestationFormat,
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from auth_service.accounts.models import Account
from auth_service.memberships.models import is_slug
from auth_service.mfa.models import Passkey, PasskeyChallenge

Purpose = Literal["register", "sign_in", "second_factor", "step_up"]
Credential = Mapping[str, Any]

CHALLENGE_TTL_S: Final = 300
_CHALLENGE_BYTES: Final = 32
_SLUG: Final = re.compile(r"[a-z][a-z0-9-]{1,38}[a-z0-9]")
# What the library raises for malformed parts; it parses CBOR, X.509 and keys that a client made up.
_MALFORMED: Final = (WebAuthnException, ValueError, TypeError, LookupError, AttributeError)
_SELF_ATTESTED: Final = (AttestationFormat.NONE, AttestationFormat.PACKED)


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """This fleet, as authenticators know it: passkeys are bound to the host of PUBLIC_URL."""

    public_url: str
    name: str

    @property
    def id(self) -> str:
        return urlsplit(self.public_url).hostname or ""

    async def allows(self, db: AsyncSession, origin: str) -> bool:
        """Whether a page of the origin may use passkeys: PUBLIC_URL's, and those on its tenants' subdomains."""
        public = urlsplit(self.public_url)
        if origin == f"{public.scheme}://{public.netloc}":
            return True
        scheme, _, host = origin.partition("://")
        slug, _, parent = host.partition(".")
        return (
            (scheme, parent) == (public.scheme, public.netloc)
            and bool(_SLUG.fullmatch(slug))
            and await is_slug(db, slug)
        )


async def registration_options(db: AsyncSession, relying_party: RelyingParty, account: Account) -> dict[str, Any]:
    """What a page gives to `navigator.credentials.create`."""
    known = (await db.scalars(select(Passkey).where(Passkey.account_id == account.id))).all()
    options = generate_registration_options(
        rp_id=relying_party.id,
        rp_name=relying_party.name,
        user_id=account.id.bytes,
        user_name=account.username,
        user_display_name=account.username,
        challenge=await _new_challenge(db, "register", account.id),
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=_descriptors(known),
    )
    return dict(json.loads(options_to_json(options)))


async def register(
    db: AsyncSession, relying_party: RelyingParty, account_id: UUID, name: str, credential: Credential
) -> Passkey | None:
    """The new passkey that answers a challenge of the account; None for an answer that is not valid."""
    client = await _answered(db, relying_party, credential, "register", account_id)
    if client is None:
        return None
    try:
        parsed = parse_registration_credential_json(dict(credential))
        if parse_attestation_object(parsed.response.attestation_object).fmt not in _SELF_ATTESTED:
            return None  # attestation was not asked for, and its certificates are not worth parsing
        verified = verify_registration_response(
            credential=parsed,
            expected_challenge=client.challenge,
            expected_rp_id=relying_party.id,
            expected_origin=client.origin,
            require_user_verification=True,
        )
    except _MALFORMED:
        return None
    transports = [transport.value for transport in parsed.response.transports or ()]
    return Passkey(
        account_id=account_id,
        name=name,
        credential_id=verified.credential_id,
        public_key=verified.credential_public_key,
        sign_count=verified.sign_count,
        transports=transports,
        synchronized=verified.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
    )


async def sign_in_options(
    db: AsyncSession, relying_party: RelyingParty, purpose: Purpose, account_id: UUID | None
) -> dict[str, Any]:
    """What a page gives to `navigator.credentials.get`; without an account the person picks one of their passkeys."""
    known: Sequence[Passkey] = ()
    if account_id is not None:
        known = (await db.scalars(select(Passkey).where(Passkey.account_id == account_id))).all()
    options = generate_authentication_options(
        rp_id=relying_party.id,
        challenge=await _new_challenge(db, purpose, account_id),
        allow_credentials=_descriptors(known),
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return dict(json.loads(options_to_json(options)))


async def accept(
    db: AsyncSession, relying_party: RelyingParty, credential: Credential, purpose: Purpose, account_id: UUID | None
) -> Passkey | None:
    """The passkey that answers a challenge, of any account if none is given; None for an answer that is not valid.

    The challenge is used up either way. A signature counter that does not grow means a copied key (section 6.1.1).
    """
    client = await _answered(db, relying_party, credential, purpose, account_id)
    passkey = await _find(db, credential) if client is not None else None
    if client is None or passkey is None or account_id not in (None, passkey.account_id):
        return None
    try:
        handle = credential["response"].get("userHandle")
        if handle is not None and _decoded(handle) != passkey.account_id.bytes:
            return None
        verified = verify_authentication_response(
            credential=dict(credential),
            expected_challenge=client.challenge,
            expected_rp_id=relying_party.id,
            expected_origin=client.origin,
            credential_public_key=passkey.public_key,
            credential_current_sign_count=passkey.sign_count,
            require_user_verification=True,
        )
    except _MALFORMED:
        return None
    passkey.sign_count, passkey.last_used_at = verified.new_sign_count, func.now()
    await db.flush()
    return passkey


async def prune(db: AsyncSession) -> None:
    """Delete challenges that were not answered in time."""
    await db.execute(delete(PasskeyChallenge).where(PasskeyChallenge.expires_at < func.now()))


@dataclass(frozen=True, slots=True)
class _ClientData:
    challenge: bytes
    origin: str


async def _answered(
    db: AsyncSession, relying_party: RelyingParty, credential: Credential, purpose: Purpose, account_id: UUID | None
) -> _ClientData | None:
    """What the browser signed, if it answers a challenge made for this; the challenge is deleted."""
    try:
        data = json.loads(_decoded(credential["response"]["clientDataJSON"]))
        client = _ClientData(_decoded(data["challenge"]), str(data["origin"]))
        framed = data.get("crossOrigin", False) is not False
    except _MALFORMED:
        return None
    spent = await db.scalar(
        delete(PasskeyChallenge)
        .where(
            PasskeyChallenge.challenge == client.challenge,
            PasskeyChallenge.purpose == purpose,
            PasskeyChallenge.account_id.is_not_distinct_from(account_id),
            PasskeyChallenge.expires_at > func.now(),
        )
        .returning(PasskeyChallenge.challenge)
    )
    if spent is None or framed or not await relying_party.allows(db, client.origin):
        return None
    return client


async def _find(db: AsyncSession, credential: Credential) -> Passkey | None:
    """The passkey of the answer, its row locked: its counter is compared and stored by one caller at a time."""
    try:
        credential_id = _decoded(credential["rawId"])
    except _MALFORMED:
        return None
    found: Passkey | None = await db.scalar(
        select(Passkey).where(Passkey.credential_id == credential_id).with_for_update()
    )
    return found


async def _new_challenge(db: AsyncSession, purpose: Purpose, account_id: UUID | None) -> bytes:
    challenge = secrets.token_bytes(_CHALLENGE_BYTES)
    expires_at = func.now() + timedelta(seconds=CHALLENGE_TTL_S)
    db.add(PasskeyChallenge(challenge=challenge, account_id=account_id, purpose=purpose, expires_at=expires_at))
    await db.flush()
    return challenge


def _descriptors(passkeys: Sequence[Passkey]) -> list[PublicKeyCredentialDescriptor]:
    return [
        PublicKeyCredentialDescriptor(
            id=passkey.credential_id, transports=[AuthenticatorTransport(name) for name in passkey.transports]
        )
        for passkey in passkeys
    ]


def _decoded(text: str) -> bytes:
    """base64url without padding. Raises ValueError or TypeError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
