"""What the audit trail is asked, and what it answers."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, Field

from auth_service.audit.kinds import Kind
from shared.web.paging import ListQuery

_ID: Final = "01890a5d-ac96-774b-bcce-b302099a8057"  # of no object


class AuditQuery(ListQuery):
    kind: list[Kind] = Field(default_factory=list, max_length=50, description="Kinds of events; repeatable.")
    account_id: UUID | None = Field(default=None, description="Events about this account.", examples=[_ID])
    session_id: UUID | None = Field(default=None, description="Events of this session.", examples=[_ID])


class SecurityEventOut(BaseModel):
    id: UUID
    kind: str = Field(examples=["session_ended"])
    description: str = Field(description="What the kind means, in plain words.", examples=["A session was ended."])
    created_at: datetime
    account_id: UUID | None = Field(description="The account that it happened to; null for a name that has none.")
    actor_id: UUID | None = Field(description="The person who did it, where that is not the account's own person.")
    session_id: UUID | None
    tenant_id: UUID | None
    address: str | None = Field(
        description="The client's address; null if there is none, or it was erased.", examples=["203.0.113.7"]
    )
    details: dict[str, Any] = Field(examples=[{"reason": "logout"}])
