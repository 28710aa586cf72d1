"""What a tenant decides about its members' sign-ins, sessions, pages and mails. Every slice reads it here.

users-service owns these settings and reports them with the tenant. The operator's apply where a tenant has set none,
and bound what it can set: it may require a second factor and shorten lifetimes, never the reverse.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Interval, cast, func, literal, literal_column, select
from sqlalchemy.orm import InstrumentedAttribute

from auth_service.memberships.models import ACTIVE, Tenant
from auth_service.memberships.reported_settings import Branding, MailText, ReportedSettings
from auth_service.settings import AuthSettings, SessionSettings
from shared.identity.authentication import MFA

_SECOND: Final = literal_column("interval '1 second'", Interval)

Lifetime = Literal["idle_ttl_s", "remembered_idle_ttl_s", "max_ttl_s"]


@dataclass(frozen=True, slots=True)
class TenantSettings:
    """`mfa_required`: a token for the tenant needs a second factor. `max_ttl_s`: how long a session lives at most.

    `name` is what pages and mails call the tenant, and `color` that of buttons; None: only the operator's is shown.
    `mail_texts` are plain texts by language.
    """

    mfa_required: bool
    max_ttl_s: int
    name: str | None
    color: str | None
    mail_texts: Mapping[str, MailText | None]


def settings_of(tenant: Tenant | None, settings: AuthSettings) -> TenantSettings:
    """The tenant's settings, with the operator's for those that it has not set; without a tenant the operator's.

    A suspended tenant shows nothing of its own on pages and in mails.
    """
    own = ReportedSettings.model_validate((tenant.settings if tenant is not None else None) or {})
    shows = tenant is not None and tenant.status == ACTIVE
    branding = (own.branding if shows else None) or Branding()
    return TenantSettings(
        mfa_required=settings.mfa.required or bool(own.mfa_required),
        max_ttl_s=min(settings.sessions.max_ttl_s, own.max_ttl_s or settings.sessions.max_ttl_s),
        name=branding.name,
        color=branding.color,
        mail_texts=(own.mail_texts if shows else None) or {},
    )


def shown_name(name: str | None, product: str) -> str:
    """What pages and mails name as the sender: never the tenant alone, which could take any name."""
    return product if name is None else f"{name} ({product})"


def lifetime(
    name: Lifetime, tenant_id: InstrumentedAttribute[UUID], limits: SessionSettings
) -> ColumnElement[timedelta]:
    """One of the lifetimes of sessions, for a statement that reads sessions of any tenant."""
    own = (
        select(cast(Tenant.settings[name].astext, BigInteger) * _SECOND).where(Tenant.id == tenant_id).scalar_subquery()
    )
    return func.least(literal(timedelta(seconds=getattr(limits, name))), own)  # LEAST ignores NULL


def lacks_second_factor(methods: Collection[str], tenant: Tenant, settings: AuthSettings) -> bool:
    """Whether the tenant requires a second factor that the authentication methods do not show.

    Checked whenever a token for the tenant is issued.
    """
    return settings_of(tenant, settings).mfa_required and MFA not in methods


def is_too_old(auth_time: datetime, tenant: Tenant, settings: AuthSettings) -> bool:
    """Whether the person has proved who they are longer ago than a session of the tenant may live.

    Checked whenever a session for the tenant is opened from another one.
    """
    return datetime.now(UTC) - auth_time > timedelta(seconds=settings_of(tenant, settings).max_ttl_s)
