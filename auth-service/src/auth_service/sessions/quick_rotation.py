"""The usual refresh as one statement: a current token, an active account, a membership that users-service confirmed.

Whatever is not usual gets no row and changes nothing: rotation.py then says what it is. Both move a session by the same
compare-and-swap, so any number of either may run at the same time.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Integer,
    Select,
    Text,
    Uuid,
    bindparam,
    cast,
    exists,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
    true,
)

from auth_service.accounts.models import ACTIVE, Account
from auth_service.memberships.models import AGE_S, Membership, Tenant, TenantMembership, usable
from auth_service.sessions.models import Session, next_generation
from auth_service.sessions.refresh_request import RefreshRequest
from auth_service.settings import SessionSettings
from shared.data.prepared import Columns, Prepared, Row
from shared.identity.authentication import MFA

_SESSION: Final = Columns(Session)
_ACCOUNT: Final = Columns(Account, _SESSION.end)
_MEMBERSHIP: Final = Columns(Membership, _ACCOUNT.end)
_TENANT: Final = Columns(Tenant, _MEMBERSHIP.end)


@dataclass(frozen=True, slots=True)
class Rotated:
    """A session at its next generation, with all that its tokens say."""

    session: Session
    account: Account
    member: TenantMembership

    @classmethod
    def read(cls, row: Row) -> "Rotated":
        member = TenantMembership(_MEMBERSHIP.read(row), _TENANT.read(row), float(row[_TENANT.end]))
        return cls(_SESSION.read(row), _ACCOUNT.read(row), member)


class QuickRotation:
    """The statement, with this service's settings in it."""

    def __init__(self, limits: SessionSettings) -> None:
        self.statement: Final = Prepared(_statement(limits))

    @staticmethod
    def values(asked: RefreshRequest, *, mfa_required: bool) -> dict[str, Any]:
        return {
            "family": asked.token.family,
            "generation": asked.token.generation,
            "client": asked.client_id,
            "jkt": asked.proven_jkt,
            "named": None if asked.named_tenant is None else asked.named_tenant.lower(),
            "mfa_required": mfa_required,
        }


def _statement(limits: SessionSettings) -> Select[Any]:
    family, generation = bindparam("family", type_=Uuid), bindparam("generation", type_=Integer)
    entered = func.set_config("app.tenant_id", cast(Session.tenant_id, Text), True)
    found = (
        select(Session.tenant_id, Session.account_id, entered.label("entered"))
        .where(Session.id == family, Session.generation == generation)
        .where(Session.client_id == bindparam("client", type_=Text))
        .where(Session.dpop_jkt.is_not_distinct_from(bindparam("jkt", type_=Text)))
        .cte("found")
        .prefix_with("MATERIALIZED")
    )
    # The tenant is set while `found` is computed. `member` refers to its row and is fenced by OFFSET 0, so memberships,
    # whose policy asks for the tenant, cannot be read before it.
    member = (
        select(*_MEMBERSHIP.all, *_TENANT.all, AGE_S.label("age_s"))
        .join(Tenant, Tenant.id == Membership.tenant_id)
        .where(Membership.tenant_id == found.c.tenant_id, Membership.user_id == found.c.account_id)
        .where(*usable(bindparam("named", type_=Text)))
        .offset(0)
        .lateral("member")
    )
    admitted = (
        select(*_ACCOUNT.all, *member.c)
        .select_from(found)
        .join(Account, Account.id == found.c.account_id)
        .join(member, true())
        .where(Account.status == ACTIVE)
        .cte("admitted")
    )
    own_rule = admitted.c.tenants_settings["mfa_required"].as_boolean()
    mfa_required = or_(bindparam("mfa_required", type_=Boolean), func.coalesce(own_rule, false()))
    proven = literal_column(f"'{MFA}'") == Session.amr.any_()
    moved = (
        next_generation(limits)
        .where(Session.id == family, Session.generation == generation)
        .where(exists().select_from(admitted).where(or_(not_(mfa_required), proven)).correlate(Session))
        .returning(*_SESSION.all)
        .cte("moved")
    )
    return select(*moved.c, *admitted.c).select_from(moved).join(admitted, true())
