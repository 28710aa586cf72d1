"""Rendering the account's pages: each form has a token of its own, each page a way back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.responses import RedirectResponse

from auth_service.account_page.deps import Owner, OwnerDep
from auth_service.account_page.service import ACCOUNT, form_purpose
from auth_service.deps import KeyringDep, Settings
from auth_service.keyring import Keyring
from auth_service.oauth_errors import NO_STORE
from auth_service.pages.rendering import render
from auth_service.sessions import browser_cookie
from auth_service.settings import AuthSettings
from shared.problems import Problem


@dataclass(frozen=True)
class AccountPage:
    """Shows pages to one signed-in person."""

    request: Request
    settings: AuthSettings
    keyring: Keyring
    owner: Owner

    def show(
        self,
        page: str,
        /,
        *,
        problem: Problem | None = None,
        form_actions: Sequence[str] = (),
        runs_script: bool = False,
        **values: Any,
    ) -> Response:
        """The page `account_{page}`."""
        return render(
            self.request,
            self.settings,
            f"account_{page}",
            problem=problem,
            form_actions=form_actions,
            runs_script=runs_script,
            brand=self.owner.tenant,
            account_url=ACCOUNT,
            csrf=self._form_token,
            **values,
        )

    def ask(self, asked: str, action: str, *, form_actions: Sequence[str] = (), **named: str) -> Response:
        """A page that asks before the form goes to `action`; its texts are those of `asked`, about what is `named`."""
        return self.show("ask", asked=asked, action=action, named=named, form_actions=form_actions)

    def failed(self, problem: Problem) -> Response:
        """A page that explains the problem."""
        return render(
            self.request,
            self.settings,
            "message",
            message="account_failed",
            problem=problem,
            brand=self.owner.tenant,
            onward=ACCOUNT,
            onward_text="account_back",
        )

    def _form_token(self, action: str) -> str:
        return browser_cookie.form_token(self.owner.session.id, form_purpose(action), self.keyring)


def done(what: str) -> Response:
    """Back to the account's first page, which says what was done."""
    return RedirectResponse(f"{ACCOUNT}?done={what}", status_code=303, headers=NO_STORE)


async def account_page(request: Request, settings: Settings, keyring: KeyringDep, owner: OwnerDep) -> AccountPage:
    return AccountPage(request, settings, keyring, owner)


AccountPageDep = Annotated[AccountPage, Depends(account_page)]
