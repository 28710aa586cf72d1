from fastapi import Request, Response

from auth_service.deps import NamedTenant, Settings
from auth_service.links.service import LinkInvalid
from auth_service.magic_links import cookie
from auth_service.magic_links.deps import MagicLinksDep
from auth_service.magic_links.schemas import MagicLinkConfirmIn, MagicLinkIn
from auth_service.magic_links.service import CodeWrong, OtherBrowser
from auth_service.mails.service import AddressUnmailable, MailLimitReached
from auth_service.scopes.service import requested
from auth_service.sessions.schemas import TokensOut
from auth_service.sessions.token_response import token_response
from auth_service.sign_in.choices import Choices
from auth_service.sign_in.service import MfaRequired
from shared.problems import raises
from shared.web.router import Router

router = Router(prefix="/auth/magic-link", tags=["sessions"])


@router.post("", status_code=202)
@raises(MailLimitReached, AddressUnmailable)
async def request_magic_link(
    body: MagicLinkIn, request: Request, links: MagicLinksDep, settings: Settings, response: Response
) -> None:
    """Mail a single-use link that signs in. The answer is the same whether the address has an account.

    It sets a cookie: only the browser that has it can use the link.
    """
    browser = cookie.read_or_make(request, settings)
    await links.request(body.email, browser)
    cookie.put(response, browser, settings)


@router.post("/confirm", response_model_exclude_none=True)
@raises(LinkInvalid, OtherBrowser, CodeWrong, MfaRequired)
async def confirm_magic_link(
    body: MagicLinkConfirmIn,
    request: Request,
    links: MagicLinksDep,
    named_tenant: NamedTenant,
    settings: Settings,
    response: Response,
) -> TokensOut:
    """Sign in by a mailed link, in the browser that asked for it.

    Another browser gets 403 with `code_to_type`; the first one sends that as `code`.
    """
    choices = Choices(body.tenant, named_tenant, requested(body.scope), body.cookie, body.remember_me)
    tokens = await links.confirm(
        token=body.token, code=body.code, browser=cookie.read(request, settings), choices=choices
    )
    cookie.expire(response, settings)
    return token_response(tokens, response, settings, cookie=body.cookie)
