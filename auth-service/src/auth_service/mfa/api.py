"""The caller's own second factors. Changing them needs a recent sign-in or step-up, by a factor if there is one."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Response

from auth_service.mfa import passkeys, recovery_codes
from auth_service.mfa.deps import FactorChangesDep, FactorsDep
from auth_service.mfa.models import Passkey, TotpFactor
from auth_service.mfa.schemas import (
    CodeIn,
    FactorAdded,
    FactorOut,
    FactorsOut,
    OptionsOut,
    PasskeyIn,
    RecoveryCodesOut,
    TotpIn,
    TotpOut,
)
from auth_service.mfa.service import FactorNotFound, FactorRefused, NoFactor, PasskeyKnown, TooManyFactors
from auth_service.sessions.signed_in import AccountOwner
from shared.problems import raises
from shared.web.router import Router

router = Router(prefix="/auth/mfa", tags=["second factors"])

FactorId = Annotated[UUID, Path(examples=["0192f0c1-2b3c-7d4e-8f50-617283940a1b"])]


@router.get("")
async def list_factors(user: AccountOwner, factors: FactorsDep) -> FactorsOut:
    """The caller's second factors, and how many recovery codes they have left."""
    apps, keys = await factors.list(user.user_id)
    return FactorsOut(
        factors=[*map(factor_out, apps), *map(factor_out, keys)],
        recovery_codes_left=await recovery_codes.left(factors.db, user.user_id),
    )


@router.post("/totp", status_code=201)
@raises(TooManyFactors)
async def enrol_totp(body: TotpIn, changes: FactorChangesDep, response: Response) -> TotpOut:
    """A secret for an authenticator app. It becomes a factor once its first code is sent, within an hour."""
    response.headers["Cache-Control"] = "no-store"
    factor, secret, uri = await changes.factors.enrol_totp(changes.account, body.name)
    return TotpOut(id=factor.id, secret=secret, uri=uri)


@router.post("/totp/{factor_id}/confirm")
@raises(FactorNotFound, FactorRefused)
async def confirm_totp(factor_id: FactorId, body: CodeIn, changes: FactorChangesDep, response: Response) -> FactorAdded:
    """Confirm an authenticator app by a code. The first factor comes with recovery codes, which are shown this once."""
    response.headers["Cache-Control"] = "no-store"
    factor, codes = await changes.confirm_totp(factor_id, body.code)
    return FactorAdded(factor=factor_out(factor), recovery_codes=codes and list(codes))


@router.post("/passkeys/options")
async def make_passkey_options(changes: FactorChangesDep) -> OptionsOut:
    """What a page gives to `navigator.credentials.create`; the challenge is valid for five minutes, once."""
    factors = changes.factors
    return OptionsOut(options=await passkeys.registration_options(factors.db, factors.relying_party, changes.account))


@router.post("/passkeys", status_code=201)
@raises(FactorRefused, PasskeyKnown, TooManyFactors)
async def add_passkey(body: PasskeyIn, changes: FactorChangesDep, response: Response) -> FactorAdded:
    """Add a passkey. The first factor comes with recovery codes, which are shown this once."""
    response.headers["Cache-Control"] = "no-store"
    passkey, codes = await changes.add_passkey(body.name, body.credential)
    return FactorAdded(factor=factor_out(passkey), recovery_codes=codes and list(codes))


@router.delete("/factors/{factor_id}", status_code=204)
@raises(FactorNotFound)
async def remove_factor(factor_id: FactorId, changes: FactorChangesDep) -> None:
    """Remove an authenticator app or a passkey. The recovery codes go with the last one."""
    await changes.remove(factor_id)


@router.post("/recovery-codes", status_code=201)
@raises(NoFactor)
async def make_recovery_codes(changes: FactorChangesDep, response: Response) -> RecoveryCodesOut:
    """Ten new recovery codes; the earlier ones no longer work."""
    response.headers["Cache-Control"] = "no-store"
    return RecoveryCodesOut(recovery_codes=list(await changes.new_recovery_codes()))


def factor_out(factor: TotpFactor | Passkey) -> FactorOut:
    return FactorOut(
        id=factor.id,
        method="totp" if isinstance(factor, TotpFactor) else "passkey",
        name=factor.name,
        created_at=factor.created_at,
        last_used_at=factor.last_used_at,
    )
