from typing import Annotated

from fastapi import Depends, Response

from auth_service.accounts.passwords import HashingBusy
from auth_service.deps import Settings
from auth_service.mfa.schemas import OptionsOut
from auth_service.mfa.service import Proof, SecondFactorRefused
from auth_service.sessions.rotation import MembershipEnded, SecondFactorMissing
from auth_service.sessions.schemas import TokensOut
from auth_service.sessions.signed_in import AccountOwner
from auth_service.sessions.token_response import TokenMakerDep, token_response
from auth_service.sign_in.api import PasswordsDep, SecondFactorDep
from auth_service.sign_in.throttle import SignInThrottled
from auth_service.step_up.flow import StepUp
from auth_service.step_up.schemas import StepUpIn
from auth_service.step_up.service import ConfirmationRefused, FactorNeeded
from shared.problems import raises
from shared.web.router import Router

router = Router(prefix="/auth/mfa/step-up", tags=["second factors"])


async def step_up_flow(passwords: PasswordsDep, second_factor: SecondFactorDep, tokens: TokenMakerDep) -> StepUp:
    return StepUp(passwords, second_factor, tokens)


StepUpDep = Annotated[StepUp, Depends(step_up_flow)]


@router.post("", response_model_exclude_none=True)
@raises(
    FactorNeeded,
    ConfirmationRefused,
    SecondFactorRefused,
    SignInThrottled,
    HashingBusy,
    MembershipEnded,
    SecondFactorMissing,
)
async def step_up(
    body: StepUpIn, user: AccountOwner, step_up: StepUpDep, settings: Settings, response: Response
) -> TokensOut:
    """Confirm that it is the caller, by the second factor if they have one, else by the password.

    The answer is an access token with a new `auth_time`, without a refresh token: the session's own is still valid,
    and its next tokens report the confirmation too.
    """
    if body.method == "password":
        tokens = await step_up.by_password(user, body.password or "")
    else:
        tokens = await step_up.by_factor(user, Proof(body.method, body.code, body.credential))
    answer = token_response(tokens, response, settings, cookie=False)
    return answer.model_copy(update={"refresh_token": None})


@router.post("/options")
async def make_step_up_options(user: AccountOwner, step_up: StepUpDep) -> OptionsOut:
    """What a page gives to `navigator.credentials.get`, to confirm with a passkey."""
    return OptionsOut(options=await step_up.passkey_options(user))
