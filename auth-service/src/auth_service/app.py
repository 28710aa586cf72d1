"""auth-service: accounts, sessions, their tokens, and the keys that sign them."""

from auth_service.account_operations.commands import commands as account_commands
from auth_service.account_page.api import router as account_page
from auth_service.account_page.confirm_api import router as confirm_page
from auth_service.account_page.deactivation_api import router as deactivate_page
from auth_service.account_page.factor_api import router as own_factor_pages
from auth_service.account_page.identity_api import router as identity_pages
from auth_service.account_page.key_api import router as own_key_pages
from auth_service.api_keys.api import router as api_keys
from auth_service.api_keys.handlers import handlers as ended_memberships
from auth_service.audit.api import router as audit
from auth_service.audit.commands import commands as audit_commands
from auth_service.authorization.api import router as authorization
from auth_service.browser_sign_in.api import router as browser_sign_in
from auth_service.browser_sign_in.factor_api import router as factor_pages
from auth_service.clients.api import router as clients
from auth_service.consents.api import router as consents
from auth_service.deactivation.api import router as deactivation
from auth_service.deactivation.events import AccountDeactivated, AccountReactivated
from auth_service.deactivation.page_api import router as deactivation_pages
from auth_service.device_authorization.api import router as device_authorization
from auth_service.email_verification.api import internal as verified_emails
from auth_service.email_verification.api import router as email_verification
from auth_service.erasure.events import AccountErased
from auth_service.identities.api import router as identities
from auth_service.identity_providers.api import router as identity_providers
from auth_service.impersonation.api import router as impersonation
from auth_service.impersonation.handlers import handlers as projection
from auth_service.invitations.api import router as invitations
from auth_service.logout.api import router as logout
from auth_service.magic_links.api import router as magic_links
from auth_service.magic_links.page_api import router as magic_link_pages
from auth_service.mails.api import router as mails
from auth_service.mfa.api import router as mfa
from auth_service.oauth_tokens.api import router as oauth_tokens
from auth_service.openid.api import router as openid
from auth_service.operators.api import router as operators
from auth_service.operators.commands import commands as operator_commands
from auth_service.pages.api import router as pages
from auth_service.passwords.api import router as passwords
from auth_service.registration.api import router as registration
from auth_service.registration.events import AccountRegistered
from auth_service.resources import open_resources
from auth_service.revocations.api import router as revocations
from auth_service.scopes.api import router as scopes
from auth_service.scopes.owned import SCOPES
from auth_service.sessions.api import router as sessions
from auth_service.sessions.events import SessionRevoked
from auth_service.settings import AuthSettings
from auth_service.sign_in.api import router as sign_in
from auth_service.signing_keys.api import router as signing_keys
from auth_service.signing_keys.commands import commands
from auth_service.step_up.api import router as step_up
from auth_service.tickets.api import router as tickets
from auth_service.upstream_sign_in.api import pages as upstream_pages
from auth_service.upstream_sign_in.api import router as upstream_sign_in
from shared.app import Service
from shared.events import EventHandlers

service = Service(
    name="auth",
    package="auth_service",
    settings=AuthSettings,
    description="Accounts, sessions and their tokens.",
    routers=[
        registration,
        email_verification,
        passwords,
        deactivation,
        pages,
        magic_link_pages,
        deactivation_pages,
        sign_in,
        magic_links,
        mfa,
        step_up,
        sessions,
        tickets,
        api_keys,
        identity_providers,
        identities,
        upstream_sign_in,
        upstream_pages,
        scopes,
        audit,
        impersonation,
        browser_sign_in,
        factor_pages,
        authorization,
        consents,
        account_page,
        confirm_page,
        own_factor_pages,
        identity_pages,
        own_key_pages,
        deactivate_page,
        oauth_tokens,
        device_authorization,
        openid,
        logout,
        operators,
        invitations,
        clients,
        signing_keys,
        revocations,
        mails,
        verified_emails,
    ],
    scopes=SCOPES,
    pages=[
        "/auth/pages",
        "/auth/upstream",
        "/oauth2/account",
        "/oauth2/authorize",
        "/oauth2/consent",
        "/oauth2/device",
        "/oauth2/invitation",
        "/oauth2/logout",
        "/oauth2/operator",
    ],
    handlers=EventHandlers(projection, ended_memberships),
    publishes=[AccountRegistered, AccountDeactivated, AccountReactivated, AccountErased, SessionRevoked],
    open=open_resources,
    commands={"keys": commands, "audit": audit_commands, "accounts": account_commands, "operators": operator_commands},
)
