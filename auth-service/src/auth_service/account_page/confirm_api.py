"""The page on which a person confirms that it is them, before they change what protects the account."""

from typing import Annotated, Any

import orjson
from fastapi import Query, Response
from fastapi.responses import RedirectResponse

from auth_service.account_page.deps import AccountForm, Owner, OwnerDep
from auth_service.account_page.page import AccountPage, AccountPageDep
from auth_service.account_page.schemas import ConfirmForm
from auth_service.account_page.service import ACCOUNT, is_page
from auth_service.accounts.models import NO_PASSWORD
from auth_service.browser_sign_in.factor_api import proof_of
from auth_service.forms import validated
from auth_service.mfa.service import methods_for
from auth_service.oauth_errors import NO_STORE
from auth_service.pages.continued import sign_in_url
from auth_service.step_up.api import StepUpDep
from auth_service.step_up.flow import StepUp
from shared.data.database import Database
from shared.deps import DatabaseDep
from shared.problems import Problem
from shared.web.router import Router

router = Router(prefix=ACCOUNT, include_in_schema=False)


@router.get("/confirm")
async def show_confirm(
    owner: OwnerDep,
    page: AccountPageDep,
    step_up: StepUpDep,
    database: DatabaseDep,
    then: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    return await _page(owner, page, step_up, database, then)


@router.post("/confirm")
async def submit_confirm(
    fields: AccountForm, owner: OwnerDep, page: AccountPageDep, step_up: StepUpDep, database: DatabaseDep
) -> Response:
    then = str(fields.get("then", ""))
    try:
        form = validated(ConfirmForm, _filled(fields))
        if form.password is not None:
            await step_up.by_password(owner.user, form.password)
        else:
            await step_up.by_factor(owner.user, proof_of(form.code, form.credential))
    except Problem as problem:
        return await _page(owner, page, step_up, database, then, problem)
    return RedirectResponse(then if is_page(then) else ACCOUNT, status_code=303, headers=NO_STORE)


async def _page(
    owner: Owner,
    page: AccountPage,
    step_up: StepUp,
    database: Database,
    then: str,
    problem: Problem | None = None,
) -> Response:
    """The page asks for a second factor of a person who has one, else for the password."""
    async with database.transaction() as db:
        methods = await methods_for(db, owner.account.id)
    options = ""
    if "passkey" in methods:
        options = orjson.dumps(await step_up.passkey_options(owner.user)).decode()
    known = then if is_page(then) else ACCOUNT
    return page.show(
        "confirm",
        problem=problem,
        runs_script=bool(options),
        then=known,
        takes_code=bool(set(methods) - {"passkey"}),
        takes_password=not methods and owner.account.password_hash != NO_PASSWORD,
        options=options,
        sign_in=sign_in_url(known),
    )


def _filled(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}
