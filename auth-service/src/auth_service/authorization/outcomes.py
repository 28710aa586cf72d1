"""What an authorization request comes to: the next step of the browser, and what the pages take from the request."""

from dataclasses import dataclass

from auth_service.accounts.models import Account
from auth_service.authorization.request import AuthorizationRequest
from auth_service.clients.models import Client
from auth_service.memberships.models import Tenant, TenantMembership
from auth_service.sessions.models import Session


@dataclass(frozen=True, slots=True)
class Browser:
    """The person whose browser is signed in, by an open session of theirs in `tenant`; None: it was erased."""

    session: Session
    account: Account
    tenant: Tenant | None


@dataclass(frozen=True, slots=True)
class SendTo:
    """The browser is sent to `url`."""

    url: str


@dataclass(frozen=True, slots=True)
class SignInNeeded:
    """The person signs in first; the request, `query`, is decided again after that."""

    query: str


@dataclass(frozen=True, slots=True)
class ConsentNeeded:
    """The person is asked whether the client may have `scopes` in their tenant."""

    request: AuthorizationRequest
    browser: Browser
    member: TenantMembership
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class ReturnOffered:
    """The person is shown that the client's request was refused, and may go back to the client by the link `url`."""

    client: Client
    redirect_uri: str
    url: str


@dataclass(frozen=True, slots=True)
class SignInHints:
    """What a request says about the sign-in that comes first (OpenID Connect Core 1.0, section 3.1.2.1).

    Its answer goes to `redirect_uri`; `login_hint` is whom the client expects, `ui_locales` the languages of the pages.
    `tenant` is the client's own, or the one that the request names.
    """

    redirect_uri: str
    login_hint: str | None = None
    ui_locales: str | None = None
    tenant: Tenant | None = None


Outcome = SendTo | SignInNeeded | ConsentNeeded | ReturnOffered
