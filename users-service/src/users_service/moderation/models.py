from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, PrimaryKeyConstraint, delete, func, or_, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Placed


class Report(Placed):
    """A member's report about a subject; each member has one open report about each."""

    __tablename__ = "reports"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        CheckConstraint("subject_type IN ('post', 'user', 'file')", name="subject_type"),
        CheckConstraint("action IN ('dismiss', 'remove', 'suspend')", name="action"),
        CheckConstraint("(action IS NULL) = (resolved_at IS NULL)", name="resolved_at"),
        Index("ix_reports_tenant_id_created_at_id", "tenant_id", "created_at", "id"),
        Index(
            "uq_reports_open",
            *("tenant_id", "reporter_id", "subject_type", "subject_id"),
            unique=True,
            postgresql_where=text("resolved_at IS NULL"),
        ),
    )

    id: Mapped[UUID]
    reporter_id: Mapped[UUID]
    subject_type: Mapped[str]
    subject_id: Mapped[UUID]
    owner_id: Mapped[UUID]
    """The person whose post or file it is; of a report about a person, that person."""
    reason: Mapped[str]
    action: Mapped[str | None]
    note: Mapped[str | None]
    resolved_by: Mapped[UUID | None]
    resolved_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    @property
    def status(self) -> str:
        return "open" if self.resolved_at is None else "resolved"


async def find(db: AsyncSession, tenant_id: UUID, report_id: UUID, *, for_update: bool = False) -> Report | None:
    return await db.get(Report, (tenant_id, report_id), with_for_update=for_update)


async def erase(db: AsyncSession, tenant_id: UUID, user_id: UUID) -> None:
    """Delete what the tenant's reports hold of a person: those that they made, and those about them."""
    about = or_(Report.reporter_id == user_id, Report.owner_id == user_id)
    await db.execute(delete(Report).where(Report.tenant_id == tenant_id, about))
