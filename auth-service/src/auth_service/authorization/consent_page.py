"""The page on which a person allows a client what it asks for: on its own request, and on a device's."""

from collections.abc import Mapping, Sequence

from fastapi import Request, Response

from auth_service.authorization.outcomes import Browser
from auth_service.clients.models import Client
from auth_service.memberships.models import TenantMembership
from auth_service.pages.rendering import render
from auth_service.settings import AuthSettings
from shared.identity.scopes import LISTED


def consent_page(
    request: Request,
    settings: AuthSettings,
    client: Client,
    browser: Browser,
    member: TenantMembership,
    scopes: frozenset[str],
    *,
    action: str,
    fields: Mapping[str, str],
    form_actions: Sequence[str] = (),
    languages: str | None = None,
    device_code: str | None = None,
    other: str | None = None,
) -> Response:
    """The page, whose form sends `fields` and the decision to `action`.

    A scope is described in the page's language, or else as the registry describes it. `device_code` is what the device
    shows, for the person to compare. `other` is the link by which another person signs in.
    """
    return render(
        request,
        settings,
        "consent",
        form_actions=form_actions,
        languages=languages,
        brand=member.tenant,
        client=client.name,
        username=browser.account.username,
        tenant=member.tenant.name,
        scopes=[scope for scope in LISTED if scope["name"] in scopes],
        action=action,
        fields=fields,
        device_code=device_code,
        other=other,
    )
