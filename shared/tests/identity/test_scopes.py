"""What the roles grant, as the public surface fixes it: the services' declarations, merged."""

from shared.identity.scopes import ALL_SCOPES, ROLES, SCOPES_OF_ROLE, Scope, scopes_of

USER = {
    *("user:read", "profile:read", "profile:write", "posts:read", "posts:write", "files:read", "files:write"),
    *("chat:read", "chat:write", "notifications:read", "notifications:write", "jobs:read", "jobs:write"),
    *("api-keys:read", "api-keys:write"),
}
ADMIN = USER | {
    *("user:write", "user:delete", "tenant:read", "tenant:write", "admin:read", "admin:write", "admin:delete"),
    *("posts:delete", "files:delete", "analytics:read", "analytics:write", "moderation:read", "moderation:write"),
    *("chat:moderate", "email:send"),
}
OPENID = {"openid", "profile", "email", "offline_access"}


def test_the_roles_grant_what_the_surface_says() -> None:
    assert {
        "user": USER,
        "analyst": USER | {"analytics:read", "moderation:read"},
        "moderator": USER | {"posts:delete", "moderation:read", "moderation:write", "chat:moderate"},
        "admin": ADMIN,
        "system": ADMIN | {"system:read", "system:write"} | OPENID,
    } == SCOPES_OF_ROLE
    assert SCOPES_OF_ROLE["system"] == ALL_SCOPES
    assert SCOPES_OF_ROLE.keys() == ROLES


def test_roles_add_up_and_an_unknown_one_grants_nothing() -> None:
    assert scopes_of(["analyst", "moderator"]) == SCOPES_OF_ROLE["analyst"] | SCOPES_OF_ROLE["moderator"]
    assert scopes_of(["root"]) == scopes_of([]) == frozenset()


def test_the_operators_have_a_scope_that_no_role_of_a_tenant_grants() -> None:
    assert Scope("fleet:stop", "Stop the fleet.", "system").listed()["roles"] == ["system"]
