"""The calls to users-service about invitations."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from auth_service.invitations.service import AlreadyMember, InvitationNotFound
from auth_service.memberships.users_api import MembershipReply
from shared.clients import ServiceClient, UnexpectedAnswer


class InvitingTenant(BaseModel):
    id: UUID
    slug: str
    name: str


class Inviter(BaseModel):
    username: str | None


class Offer(BaseModel):
    """What an open invitation offers, and to which address."""

    tenant: InvitingTenant
    email: str
    roles: list[str]
    invited_by: Inviter
    expires_at: datetime


class _Token(BaseModel):
    token: str


class _Acceptance(_Token):
    user_id: UUID
    email: str


async def find(users: ServiceClient, token: str) -> Offer:
    """Raises InvitationNotFound, ServiceUnavailable."""
    with _raising_refusals():
        return await users.send("POST", "/internal/invitations/find", _Token(token=token), Offer)


async def accept(users: ServiceClient, token: str, user_id: UUID, email: str) -> MembershipReply:
    """Accept for a person who has verified `email`. Raises InvitationNotFound, AlreadyMember, ServiceUnavailable."""
    body = _Acceptance(token=token, user_id=user_id, email=email)
    with _raising_refusals():
        return await users.send("POST", "/internal/invitations/accept", body, MembershipReply)


@contextmanager
def _raising_refusals() -> Iterator[None]:
    try:
        yield
    except UnexpectedAnswer as answer:
        match answer.received_code:
            case "invitation_not_found":
                raise InvitationNotFound from None
            case "already_member":
                raise AlreadyMember from None
        raise
