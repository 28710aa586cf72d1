from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, Index, LargeBinary, Text, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Global
from shared.ids import new_id


class IdentityProvider(Global):
    """An upstream issuer and our registration there. Its issuer never changes, because identities are the issuer's.

    People sign in through it to `tenant_id` alone; None: an operator's provider, for people of every tenant. The
    client secret is encrypted; None: a public client.
    """

    __tablename__ = "identity_providers"
    __table_args__ = (Index("ix_identity_providers_tenant_id_created_at", "tenant_id", "created_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[UUID | None]
    name: Mapped[str]
    issuer: Mapped[str]
    client_id: Mapped[str]
    client_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_by: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    disabled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    @property
    def confines(self) -> bool:
        """Whether its sessions are confined to its tenant: the tenant's admins say who a person is."""
        return self.tenant_id is not None
