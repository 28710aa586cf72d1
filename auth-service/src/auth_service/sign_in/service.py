"""The rules of signing in: how it is refused, and which tenant it is for."""

from collections.abc import Sequence
from uuid import UUID

from auth_service.memberships import models
from auth_service.memberships.models import TenantMembership
from shared.problems import Forbidden, NotFound, Unauthenticated


class SignInRefused(Unauthenticated):
    """The username or the password is wrong; the answer does not reveal which."""

    status, title = 401, "Username or password is wrong"
    remedy = "Check both. After ten failures in 15 minutes, further sign-ins to the account are refused for a while."
    keeps_writes = True


class TenantNotFound(NotFound):
    """No such tenant, or the caller is not a member of it."""

    status, title = 404, "No such tenant"


class TenantClosed(Forbidden):
    """The tenant, or the person's membership in it, is suspended."""

    status, title = 403, "The tenant does not admit you now"
    remedy = "Ask an admin of the tenant, or an operator of the fleet."


def choose(
    joined: Sequence[TenantMembership], named: str | None, last_tenant_id: UUID | None
) -> TenantMembership | None:
    """The membership in the named tenant (slug or id), whatever its status; else the default among the active ones.

    None if there is none. An invitation is never the default: it counts once the person names the tenant.
    """
    current = [member for member in joined if member.membership.status != models.ENDED]
    if named is not None:
        return next((member for member in current if member.is_named(named)), None)
    active = [member for member in current if member.active]
    last = next((member for member in active if member.tenant.id == last_tenant_id), None)
    return last or (active[0] if active else None)
