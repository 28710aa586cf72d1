"""The scopes that users-service owns: people, tenants and their content, and the operators' own."""

from typing import Final

from shared.identity.scopes import EVERY_ROLE, Role, Scope

_ADMIN: Final[tuple[Role, ...]] = ("admin",)

SCOPES: Final = [
    Scope("user:read", "See the people of the tenant.", "people", EVERY_ROLE),
    Scope("user:write", "Invite people, and change or suspend them.", "people", _ADMIN, sensitive=True),
    Scope("user:delete", "Remove people and their data in the tenant.", "people", _ADMIN, sensitive=True),
    Scope("profile:read", "Read the caller's profile.", "profile", EVERY_ROLE),
    Scope("profile:write", "Change the caller's profile.", "profile", EVERY_ROLE),
    Scope("tenant:read", "Read the tenant and its members.", "tenant", _ADMIN),
    Scope("tenant:write", "Change the tenant, its members and their roles.", "tenant", _ADMIN, sensitive=True),
    Scope("admin:read", "Read everything inside the tenant.", "administration", _ADMIN, sensitive=True),
    Scope("admin:write", "Change the tenant's settings.", "administration", _ADMIN, sensitive=True),
    Scope("admin:delete", "Delete data of the tenant.", "administration", _ADMIN, sensitive=True),
    Scope("posts:read", "Read posts.", "posts", EVERY_ROLE),
    Scope("posts:write", "Write posts, and change or delete the caller's.", "posts", EVERY_ROLE),
    Scope("posts:delete", "Delete other people's posts.", "posts", ("moderator", "admin")),
    Scope("files:read", "Read the caller's files.", "files", EVERY_ROLE),
    Scope("files:write", "Upload files, and change or delete the caller's.", "files", EVERY_ROLE),
    Scope("files:delete", "Delete other people's files.", "files", _ADMIN),
    Scope("analytics:read", "Read the tenant's analytics.", "analytics", ("analyst", "admin")),
    Scope("analytics:write", "Change the tenant's analytics.", "analytics", _ADMIN),
    Scope("moderation:read", "Read reports.", "moderation", ("analyst", "moderator", "admin")),
    Scope("moderation:write", "Resolve reports.", "moderation", ("moderator", "admin")),
    Scope("system:read", "Read data of the whole fleet.", "system", sensitive=True),
    Scope("system:write", "Change tenants' tiers and status, and the whole fleet.", "system", sensitive=True),
]
