"""The page of the second step: a code, or a passkey. It needs a script for the passkey alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from fastapi import Request, Response

from auth_service.browser_sign_in.continuing import Continuation
from auth_service.mfa.qr_code import qr_code
from auth_service.pages.rendering import render
from auth_service.settings import AuthSettings
from auth_service.sign_in.second_factor import SecondFactor
from auth_service.sign_in.service import MfaRequired
from shared.problems import Problem


@dataclass(frozen=True)
class FactorPage:
    """Renders the page. Where the person has no factor, it adds an authenticator app and shows its secret."""

    request: Request
    settings: AuthSettings
    second_factor: SecondFactor

    async def first(self, required: MfaRequired, continuing: Continuation) -> Response:
        """The page after the first step has answered with `required`."""
        secret, uri = "", ""
        if required.enrol:
            _, secret, uri = await self.second_factor.enrol(required.mfa_token, "Authenticator app")
        return await self._show(required.mfa_token, required.methods, continuing, secret=secret, uri=uri)

    async def again(self, mfa_token: str, continuing: Continuation, problem: Problem) -> Response:
        """The page after a proof was refused. Raises MfaTokenInvalid."""
        methods = await self.second_factor.methods(mfa_token)
        return await self._show(mfa_token, methods, continuing, problem=problem)

    async def passkey_alone(self, continuing: Continuation, problem: Problem | None = None) -> Response:
        """The page of a sign-in by a passkey, without username and password."""
        return await self._show("", ["passkey"], continuing, problem=problem)

    async def _show(
        self,
        mfa_token: str,
        methods: Sequence[str],
        continuing: Continuation,
        *,
        secret: str = "",
        uri: str = "",
        problem: Problem | None = None,
    ) -> Response:
        options = ""
        if "passkey" in methods:
            options = orjson.dumps(await self.second_factor.passkey_options(mfa_token or None)).decode()
        return render(
            self.request,
            self.settings,
            "second_factor",
            problem=problem,
            form_actions=continuing.form_actions,
            languages=continuing.languages,
            brand=continuing.tenant,
            runs_script=bool(options),
            mfa_token=mfa_token,
            continued=continuing.url,
            takes_code=set(methods) != {"passkey"},
            options=options,
            secret=secret,
            uri=uri,
            qr_code=qr_code(uri) if uri else "",
        )
