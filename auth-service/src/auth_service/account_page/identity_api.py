"""The pages that link and unlink identities of upstream issuers."""

from typing import Final

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from auth_service.account_page.deps import AccountForm, ConfirmedOwner
from auth_service.account_page.page import AccountPageDep, done
from auth_service.account_page.service import ACCOUNT
from auth_service.clients.redirect_uris import form_action
from auth_service.deps import Address, Settings
from auth_service.identities import service
from auth_service.mails.deps import MailsDep
from auth_service.oauth_errors import NO_STORE
from auth_service.upstream_sign_in import browser_secret
from auth_service.upstream_sign_in.api import UpstreamSignInDep
from auth_service.upstream_sign_in.service import new_browser_secret
from shared.deps import DatabaseDep, ExampleId
from shared.problems import Problem
from shared.web.router import Router

_PATH: Final = f"{ACCOUNT}/identities"

router = Router(prefix=_PATH, include_in_schema=False)


@router.get("/link/{provider_id}")
async def show_link(
    provider_id: ExampleId, owner: ConfirmedOwner, page: AccountPageDep, upstream: UpstreamSignInDep
) -> Response:
    try:
        provider, issuer = await upstream.linkable(provider_id, owner.user)
    except Problem as problem:
        return page.failed(problem)
    action = f"{_PATH}/link/{provider_id}"
    leaves_to = [form_action(issuer.metadata.authorization_endpoint)]
    return page.ask("link_identity", action, name=provider.name, form_actions=leaves_to)


@router.post("/link/{provider_id}")
async def submit_link(
    provider_id: ExampleId,
    request: Request,
    fields: AccountForm,
    owner: ConfirmedOwner,
    page: AccountPageDep,
    upstream: UpstreamSignInDep,
    settings: Settings,
) -> Response:
    browser = browser_secret.read(request, settings) or new_browser_secret()
    try:
        url = await upstream.start_link(provider_id, browser, owner.user, continued=f"{ACCOUNT}?done=identity_linked")
    except Problem as problem:
        return page.failed(problem)
    response = RedirectResponse(url, status_code=303, headers=NO_STORE)
    browser_secret.put(response, browser, settings)
    return response


@router.get("/{identity_id}/unlink")
async def show_unlink(
    identity_id: ExampleId, owner: ConfirmedOwner, page: AccountPageDep, database: DatabaseDep
) -> Response:
    try:
        async with database.transaction() as db:
            _, provider = await service.own(db, owner.account.id, identity_id)
    except Problem as problem:
        return page.failed(problem)
    return page.ask("unlink_identity", f"{_PATH}/{identity_id}/unlink", name=provider.name)


@router.post("/{identity_id}/unlink")
async def submit_unlink(
    identity_id: ExampleId,
    fields: AccountForm,
    owner: ConfirmedOwner,
    page: AccountPageDep,
    database: DatabaseDep,
    mails: MailsDep,
    settings: Settings,
    address: Address,
) -> Response:
    try:
        async with database.transaction() as db:
            await service.unlink(db, owner.user, identity_id, mails, settings, address)
    except Problem as problem:
        return page.failed(problem)
    return done("identity_unlinked")
