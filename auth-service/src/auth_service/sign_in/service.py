"""The rules of signing in: how it is refused, and which tenant it is for."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from auth_service.memberships import models
from auth_service.memberships.models import TenantMembership
from shared.problems import Forbidden, MalformedRequest, NotFound, Unauthenticated


class SignInRefused(Unauthenticated):
    """The username or the password is wrong; the answer does not reveal which."""

    status, title = 401, "Username or password is wrong"
    remedy = "Check both. After ten failures in 15 minutes, further sign-ins to the account are refused for a while."
    keeps_writes = True


class PasskeyRefused(Unauthenticated):
    """The passkey is unknown, or its answer is not valid or was sent before."""

    status, title = 401, "The passkey is not valid"
    remedy = "Ask for new options at POST /auth/mfa/passkeys/sign-in/options, or sign in with the password."
    keeps_writes = True


class MfaTokenInvalid(Unauthenticated):
    """The `mfa_token` is wrong, was used before, or has expired after five minutes."""

    status, title = 401, "The sign-in cannot be continued"
    remedy = "Sign in again."


class MfaRequired(Unauthenticated):
    """The password is right, and a second factor is required: the account has one, or the tenant asks for one."""

    status, title = 401, "A second factor is required"
    remedy = (
        "Send `mfa_token` with one of `methods` to POST /auth/mfa/verify within five minutes. With `enrol`, add an "
        "authenticator app first: POST /auth/mfa/enrol."
    )

    def __init__(self, mfa_token: str, methods: Sequence[str], *, enrol: bool = False) -> None:
        super().__init__()
        self.mfa_token, self.methods, self.enrol = mfa_token, methods, enrol

    @classmethod
    def example(cls) -> "MfaRequired":
        return cls("q3mZ0w…", ["totp", "recovery_code"])

    def extensions(self) -> Mapping[str, object]:
        return {"mfa_token": self.mfa_token, "methods": list(self.methods), "enrol": self.enrol}


class EmailUnverified(Forbidden):
    """The account has no verified email address, and this fleet requires one."""

    status, title = 403, "Verify your email address first"
    remedy = "Open the link that was mailed, or ask for another one at POST /auth/verify-email/request."


class AccountDeactivated(Forbidden):
    """The account is deactivated: its person or an operator has ended its use. Who asks has proven to be its person."""

    status, title = 403, "The account is deactivated"
    remedy = (
        "Ask for a link that reactivates it at POST /auth/reactivate. What an operator of the fleet has deactivated, "
        "only an operator reactivates."
    )


class TenantNotFound(NotFound):
    """No such tenant, or the caller is not a member of it."""

    status, title = 404, "No such tenant"


class TenantContradiction(MalformedRequest):
    """The body names another tenant than the subdomain or the X-Tenant-ID header."""

    status, title = 400, "The request names two tenants"
    remedy = "Name the tenant once."


class TenantClosed(Forbidden):
    """The tenant, or the person's membership in it, is suspended."""

    status, title = 403, "The tenant does not admit you now"
    remedy = "Ask an admin of the tenant, or an operator of the fleet."


def one_name(in_body: str | None, in_request: str | None) -> str | None:
    """The tenant that a sign-in names in its body, or beside it. Raises TenantContradiction.

    A slug and an id may name the same tenant: they are compared once the membership is known.
    """
    if in_body is None or in_request is None:
        return in_body or in_request
    if in_body.lower() != in_request.lower() and _is_id(in_body) == _is_id(in_request):
        raise TenantContradiction
    return in_body


def _is_id(name: str) -> bool:
    try:
        UUID(name)
    except ValueError:
        return False
    return True


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
