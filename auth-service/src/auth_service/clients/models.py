from collections.abc import Collection
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import DateTime, Index, LargeBinary, Text, false, func, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Global
from shared.ids import new_id

AuthMethod = Literal["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]
GrantType = Literal[
    "authorization_code",
    "refresh_token",
    "client_credentials",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:ietf:params:oauth:grant-type:token-exchange",
]


class Client(Global):
    """A program that gets tokens (RFC 7591, section 2, has the meaning of most fields). Its id is its `client_id`.

    Its people and tokens are in `tenant_id` alone; None: an operator's client, for people of every tenant. `roles` are
    what a client-credentials token is granted by. A `first_party` client asks for no consent.
    """

    __tablename__ = "oauth_clients"
    __table_args__ = (Index("ix_oauth_clients_tenant_id_created_at", "tenant_id", "created_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    tenant_id: Mapped[UUID | None]
    name: Mapped[str]
    auth_method: Mapped[str]
    secret_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    jwks: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    native: Mapped[bool] = mapped_column(server_default=false())
    first_party: Mapped[bool] = mapped_column(server_default=false())
    redirect_uris: Mapped[list[str]] = mapped_column(ARRAY(Text))
    post_logout_redirect_uris: Mapped[list[str]] = mapped_column(ARRAY(Text))
    backchannel_logout_uri: Mapped[str | None]
    grant_types: Mapped[list[str]] = mapped_column(ARRAY(Text))
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text))
    resources: Mapped[list[str]] = mapped_column(ARRAY(Text))
    dpop_bound: Mapped[bool] = mapped_column(server_default=false())
    require_par: Mapped[bool] = mapped_column(server_default=false())
    created_by: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    disabled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    @property
    def confidential(self) -> bool:
        """Whether it can keep a secret (RFC 6749, section 2.1)."""
        return self.auth_method != "none"


async def clients_by_id(db: AsyncSession, ids: Collection[UUID]) -> dict[UUID, Client]:
    """The clients of these ids that are registered."""
    return {client.id: client for client in await db.scalars(select(Client).where(Client.id.in_(ids)))}


class UsedAssertion(Global):
    """A client assertion (RFC 7523) or a DPoP proof (RFC 9449) that was accepted: its `jti` is accepted once."""

    __tablename__ = "oauth_used_assertions"
    __table_args__ = (Index(None, "expires_at"),)

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
