from datetime import datetime

from sqlalchemy import DateTime, Index, PrimaryKeyConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Global


class Revocation(Global):
    """One token (`jti`), session or person whose tokens no longer count; the row goes once they all have expired."""

    __tablename__ = "revocations"
    __table_args__ = (
        PrimaryKeyConstraint("kind", "ref"),
        Index(None, "changed_at"),
        Index(None, "expires_at"),
    )

    kind: Mapped[str]
    ref: Mapped[str]
    epoch: Mapped[int | None]
    changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
