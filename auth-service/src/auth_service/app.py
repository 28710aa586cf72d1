"""auth-service: accounts, sessions, their tokens, and the keys that sign them."""

from auth_service.email_verification.api import router as email_verification
from auth_service.memberships.handlers import handlers as memberships
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
from auth_service.sessions.handlers import handlers as ended_memberships
from auth_service.settings import AuthSettings
from auth_service.sign_in.api import router as sign_in
from auth_service.signing_keys.api import router as signing_keys
from auth_service.signing_keys.commands import commands
from auth_service.tickets.api import router as tickets
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
        pages,
        sign_in,
        sessions,
        tickets,
        scopes,
        signing_keys,
        revocations,
    ],
    scopes=SCOPES,
    handlers=EventHandlers(memberships, ended_memberships),
    publishes=[AccountRegistered, SessionRevoked],
    open=open_resources,
    commands={"keys": commands},
)
