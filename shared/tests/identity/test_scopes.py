"""What the roles grant, as the public surface fixes it."""

from shared.identity.scopes import ALL_SCOPES, API_SCOPES, OPENID_SCOPES, SCOPES_OF_ROLE, scopes_of

USER = {
    *("user:read", "profile:read", "profile:write", "posts:read", "posts:write", "files:read", "files:write"),
    *("chat:read", "chat:write", "notifications:read", "notifications:write", "jobs:read", "jobs:write"),
}


def test_the_roles_grant_what_the_surface_says() -> None:
    assert scopes_of(["user"]) == USER
    assert scopes_of(["analyst"]) == USER | {"analytics:read", "moderation:read"}
    assert scopes_of(["moderator"]) == USER | {"posts:delete", "moderation:read", "moderation:write", "chat:moderate"}
    assert scopes_of(["system"]) == ALL_SCOPES


def test_an_admin_may_do_everything_inside_the_tenant_and_nothing_to_the_fleet() -> None:
    assert scopes_of(["admin"]) == API_SCOPES - {"system:read", "system:write"}
    named = {"email:send", "tenant:read", "tenant:write", "admin:read", "admin:write", "admin:delete", "user:write"}
    assert named | {"user:delete", "files:delete", "analytics:read", "analytics:write"} <= scopes_of(["admin"])


def test_roles_add_up_and_an_unknown_one_grants_nothing() -> None:
    assert scopes_of(["analyst", "moderator"]) == SCOPES_OF_ROLE["analyst"] | SCOPES_OF_ROLE["moderator"]
    assert scopes_of(["root"]) == scopes_of([]) == frozenset()


def test_every_scope_has_the_shape_of_the_grammar() -> None:
    assert len(API_SCOPES) == 30
    assert all(scope.count(":") == 1 for scope in API_SCOPES)
    assert {"openid", "profile", "email", "offline_access"} == OPENID_SCOPES
