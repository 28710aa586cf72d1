from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, Text, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.accounts.models import Account
from auth_service.clients.models import Client
from shared.data.models import Global
from shared.ids import new_id


class Consent(Global):
    """The scopes that a person allowed a client in one of their tenants."""

    __tablename__ = "oauth_consents"
    __table_args__ = (
        Index("uq_oauth_consents_account_client_tenant", "account_id", "client_id", "tenant_id", unique=True),
        Index(None, "client_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"))
    client_id: Mapped[UUID] = mapped_column(ForeignKey(Client.id, ondelete="CASCADE"))
    tenant_id: Mapped[UUID]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
