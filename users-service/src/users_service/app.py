"""users-service: tenants, memberships, profiles and files."""

from shared.app import Service
from users_service.files.api import router as files
from users_service.files.events import FileDeleted, FileUploaded
from users_service.profiles.api import router as profiles
from users_service.profiles.events import UserUpdated
from users_service.resources import open_resources
from users_service.scopes import SCOPES
from users_service.settings import UsersSettings
from users_service.tenants.api import router as tenants
from users_service.tenants.commands import operators
from users_service.tenants.commands import tenants as tenant_commands
from users_service.tenants.demo import refuse_demo_tenant
from users_service.tenants.events import (
    MembershipChanged,
    MembershipGranted,
    MembershipRevoked,
    TenantCreated,
    TenantErased,
    TenantResumed,
    TenantSuspended,
    TenantUpdated,
)
from users_service.tenants.handlers import handlers
from users_service.tenants.internal import router as internal
from users_service.users.api import router as users

service = Service(
    name="users",
    package="users_service",
    settings=UsersSettings,
    description="Tenants, memberships with roles, profiles and files.",
    # profiles before users: /users/me is one's own profile, not the person named `me`
    routers=[profiles, users, tenants, files, internal],
    scopes=SCOPES,
    handlers=handlers,
    publishes=[
        UserUpdated,
        TenantCreated,
        TenantUpdated,
        TenantSuspended,
        TenantResumed,
        TenantErased,
        MembershipGranted,
        MembershipChanged,
        MembershipRevoked,
        FileUploaded,
        FileDeleted,
    ],
    open=open_resources,
    refuses=[refuse_demo_tenant],
    commands={"operators": operators, "tenants": tenant_commands},
)
