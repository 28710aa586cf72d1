from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    DateTime,
    ForeignKey,
    Index,
    Text,
    Update,
    case,
    false,
    func,
    or_,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.accounts.models import Account
from auth_service.settings import SessionSettings
from auth_service.tenant_settings import lifetime
from shared.data.models import Global
from shared.identity.access_tokens import IMPERSONATION_TTL_S
from shared.identity.principal import OWN_SIGN_IN
from shared.ids import new_id

CLIENT_ID: Final = OWN_SIGN_IN


@dataclass(frozen=True, slots=True)
class SessionProvider:
    """The upstream provider that has signed a person in. If it `confines`, the session is for its tenant alone."""

    id: UUID
    confines: bool


class Session(Global):
    """One sign-in, which is one family of refresh tokens. It belongs to a person, in one of their tenants.

    `generation` is that of the valid refresh token; tokens are computed, none is stored. `limited_to` are the scopes
    that the sign-in requested, if it named any: the session never gets others. `auth_time` and `amr` say when and how
    the person last proved who they are. A `remembered` one may be idle for longer.

    A session of an OAuth client was `opened_by` the session of the person's browser; its tokens are for `audience`
    (None: PUBLIC_URL), and bound to the key with the thumbprint `dpop_jkt` (None: not bound).

    `provider_id` is the upstream provider that signed the person in. A `confined` session changes nothing outside its
    tenant, because the tenant's own provider says who the person is.

    In an impersonation the operator `impersonator_id` acts as the person. The operator's session has opened it; it ends
    after IMPERSONATION_TTL_S and is not refreshed, and its `amr` is empty, because the person has proven nothing.
    """

    __tablename__ = "sessions"
    __table_args__ = (
        Index("ix_sessions_account_id_created_at", "account_id", "created_at"),
        Index(None, "last_seen_at"),
        Index(None, "opened_by"),
        Index(None, "provider_id"),
        Index(None, "impersonator_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"))
    tenant_id: Mapped[UUID]
    client_id: Mapped[str]
    limited_to: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    auth_time: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    amr: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{pwd}'"))
    remembered: Mapped[bool] = mapped_column(server_default=false())
    opened_by: Mapped[UUID | None]
    audience: Mapped[str | None]
    dpop_jkt: Mapped[str | None]
    provider_id: Mapped[UUID | None]
    confined: Mapped[bool] = mapped_column(server_default=false())
    impersonator_id: Mapped[UUID | None]
    impersonation_reason: Mapped[str | None]
    device: Mapped[str | None]
    address: Mapped[str | None]
    generation: Mapped[int] = mapped_column(server_default="0")
    rotated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    last_seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    end_reason: Mapped[str | None]

    @property
    def impersonated_until(self) -> datetime:
        """When an impersonation ends by itself."""
        return self.created_at + timedelta(seconds=IMPERSONATION_TTL_S)


def next_generation(limits: SessionSettings) -> Update:
    """Moves an open session, no impersonation, to its next generation.

    The caller names the session and the generation that it has.
    """
    now = func.clock_timestamp()
    moved = {"generation": Session.generation + 1, "rotated_at": now, "last_seen_at": now}
    return update(Session).where(*open_conditions(limits), Session.impersonator_id.is_(None)).values(moved)


def open_conditions(limits: SessionSettings) -> tuple[ColumnElement[bool], ...]:
    """The conditions of a session that has neither ended nor expired, by the lifetimes of its tenant.

    A session that was opened from another one lives no longer than if the person had signed in to it then.
    """
    begun = func.least(Session.created_at, Session.auth_time)
    return (
        Session.ended_at.is_(None),
        Session.last_seen_at > func.now() - _idle(limits),
        begun > func.now() - lifetime("max_ttl_s", Session.tenant_id, limits),
        or_(
            Session.impersonator_id.is_(None),
            Session.created_at > func.now() - timedelta(seconds=IMPERSONATION_TTL_S),
        ),
    )


def _idle(limits: SessionSettings) -> ColumnElement[timedelta]:
    """How long the session may go without a refresh."""
    remembered = lifetime("remembered_idle_ttl_s", Session.tenant_id, limits)
    return case((Session.remembered, remembered), else_=lifetime("idle_ttl_s", Session.tenant_id, limits))
