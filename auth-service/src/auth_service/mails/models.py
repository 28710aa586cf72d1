from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, Index, LargeBinary, func, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Global
from shared.ids import new_id


class OutgoingMail(Global):
    """A mail to one address. `sealed`, its encrypted content, is null once it was sent or given up.

    `recipient` is a MAC of the address: it counts an hour's mails to the address without storing it.
    """

    __tablename__ = "mails"
    __table_args__ = (
        Index("ix_mails_recipient_created_at", "recipient", "created_at"),
        Index("ix_mails_due_at_unsent", "due_at", postgresql_where=text("sealed IS NOT NULL")),
        Index(None, "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    purpose: Mapped[str]
    recipient: Mapped[bytes] = mapped_column(LargeBinary)
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    attempts: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    sent_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
