from datetime import datetime
from uuid import UUID

from sqlalchemy import PrimaryKeyConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Tenanted


class Order(Tenanted):
    __tablename__ = "orders"
    __table_args__ = (PrimaryKeyConstraint("tenant_id", "id"),)

    id: Mapped[UUID]
    item: Mapped[str]
    quantity: Mapped[int]
    placed_by: Mapped[UUID]
    placed_at: Mapped[datetime] = mapped_column(server_default=func.now())
