from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field


class ConsentOut(BaseModel):
    """What the caller allowed a client, in one of their tenants."""

    id: UUID
    client_id: UUID
    client_name: str = Field(examples=["Planner"])
    tenant_id: UUID
    scope: str = Field(examples=["openid jobs:read"])
    created_at: datetime
