"""users-service: tenants, memberships, and the content of tenants."""

from shared.app import Service
from shared.events import EventHandlers
from users_service.activity.api import router as activity
from users_service.activity.handlers import handlers as activity_log
from users_service.analytics.api import router as analytics
from users_service.files.api import router as files
from users_service.files.events import FileDeleted, FileUploaded
from users_service.follows.api import router as follows
from users_service.follows.handlers import handlers as followers
from users_service.invitations.api import accepting as accepting_invitations
from users_service.invitations.api import internal as invitation_calls
from users_service.invitations.api import router as invitations
from users_service.members.api import internal as memberships
from users_service.members.api import router as members
from users_service.members.api import transfers
from users_service.members.commands import operators
from users_service.members.commands import tenants as tenant_commands
from users_service.members.events import MembershipChanged, MembershipGranted, MembershipRevoked
from users_service.members.operators_api import router as operator_calls
from users_service.moderation.api import router as moderation
from users_service.notifications.events import NotificationRequested
from users_service.posts.api import router as posts
from users_service.posts.events import PostPublished, PostRemoved
from users_service.profiles.api import router as profiles
from users_service.profiles.events import UserUpdated
from users_service.registration.api import further_tenants
from users_service.registration.api import router as registration
from users_service.registration.handlers import handlers as registrations
from users_service.resources import open_resources
from users_service.revocations.api import router as revocations
from users_service.scopes import SCOPES
from users_service.settings import UsersSettings
from users_service.tenant_deletion.api import router as tenant_deletion
from users_service.tenant_settings.api import router as tenant_settings
from users_service.tenants.api import router as tenants
from users_service.tenants.demo_tenant import refuse_demo_tenant
from users_service.tenants.events import (
    TenantCreated,
    TenantErased,
    TenantResumed,
    TenantSuspended,
    TenantUpdated,
)
from users_service.users.api import router as users

service = Service(
    name="users",
    package="users_service",
    settings=UsersSettings,
    description="Tenants, memberships with roles, profiles, posts, files and figures.",
    # profiles before users: /users/me is one's own profile, not the person named `me`
    routers=[
        profiles,
        users,
        follows,
        tenants,
        further_tenants,
        tenant_deletion,
        tenant_settings,
        members,
        transfers,
        invitations,
        accepting_invitations,
        files,
        posts,
        activity,
        moderation,
        analytics,
        registration,
        memberships,
        operator_calls,
        invitation_calls,
        revocations,
    ],
    scopes=SCOPES,
    handlers=EventHandlers(registrations, activity_log, followers),
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
        PostPublished,
        PostRemoved,
        NotificationRequested,
    ],
    open=open_resources,
    refuses=[refuse_demo_tenant],
    commands={"operators": operators, "tenants": tenant_commands},
)
