"""The calls to auth-service, which mails invitations and knows who has verified which address."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from shared.clients import ServiceClient


class InvitingTenant(BaseModel):
    id: UUID
    name: str
    slug: str


class InvitationMail(BaseModel):
    """What the mail says; auth-service makes the link of `token`."""

    mail_id: UUID
    email: str
    locale: str | None
    tenant: InvitingTenant
    inviter_name: str
    roles: list[str]
    token: str
    expires_at: datetime


class _Address(BaseModel):
    user_id: UUID
    email: str


class _Verified(BaseModel):
    verified: bool


async def send_mail(auth: ServiceClient, mail: InvitationMail) -> None:
    """Have the mail sent, once for its `mail_id`. Raises ServiceUnavailable, and UnexpectedAnswer for a refusal."""
    await auth.send("POST", "/internal/mails/invitation", mail)


async def has_verified(auth: ServiceClient, user_id: UUID, email: str) -> bool:
    """Whether the address is the person's, by auth-service. Raises ServiceUnavailable."""
    body = _Address(user_id=user_id, email=email)
    return (await auth.send("POST", "/internal/verified-emails/check", body, _Verified)).verified
