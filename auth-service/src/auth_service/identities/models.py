from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, func
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.accounts.models import Account
from auth_service.identity_providers.models import IdentityProvider
from shared.data.models import Global
from shared.ids import new_id

SUBJECT_KEY = "uq_identities_provider_id_subject"


class Identity(Global):
    """A person at a provider, who signs in to one account. `subject` is the issuer's id of the person (`sub`).

    Identities belong to a provider, not to its issuer: a tenant that registers the same issuer gains nothing by it.
    `email` is what the issuer called the person when the identity was linked; it identifies no account.
    """

    __tablename__ = "identities"
    __table_args__ = (
        Index(SUBJECT_KEY, "provider_id", "subject", unique=True),
        Index("ix_identities_account_id_created_at", "account_id", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"))
    provider_id: Mapped[UUID] = mapped_column(ForeignKey(IdentityProvider.id, ondelete="CASCADE"))
    subject: Mapped[str]
    email: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    last_used_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
