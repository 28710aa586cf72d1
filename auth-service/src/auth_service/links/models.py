from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, LargeBinary, func
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.accounts.models import Account
from shared.data.models import Global


class Link(Global):
    """A link by the hash of its token. It was mailed to `email`, and is good for its purpose alone.

    `browser` is the hash of a cookie, for a link that is good in one browser only; `failures` are wrong codes there.

    Without an account it is good for any account that has verified the address, or it is a decoy, which was not mailed:
    it makes the work for unknown addresses the same.
    """

    __tablename__ = "links"
    __table_args__ = (Index(None, "account_id"), Index(None, "browser"), Index(None, "expires_at"))

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    account_id: Mapped[UUID | None] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"))
    purpose: Mapped[str]
    email: Mapped[str]
    browser: Mapped[bytes | None] = mapped_column(LargeBinary)
    failures: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
