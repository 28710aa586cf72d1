from datetime import datetime
from typing import Any, Literal

from sqlalchemy import DateTime, Index, LargeBinary, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Global
from shared.identity.keys import Algorithm

Status = Literal["next", "active", "retired"]


class StoredKey(Global):
    """One key pair. `next` is published ahead of use, one `active` signs, `retired` ones still verify for a while."""

    __tablename__ = "signing_keys"
    __table_args__ = (
        # However many replicas start or rotate at once, one key of an algorithm is active and one is next.
        Index(
            "uq_signing_keys_algorithm_status_current",
            "algorithm",
            "status",
            unique=True,
            postgresql_where=text("status <> 'retired'"),
        ),
    )

    kid: Mapped[str] = mapped_column(primary_key=True)
    algorithm: Mapped[Algorithm] = mapped_column(Text)
    status: Mapped[Status] = mapped_column(Text)
    public_jwk: Mapped[dict[str, Any]] = mapped_column(JSONB)
    private_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    activated_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    retired_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
