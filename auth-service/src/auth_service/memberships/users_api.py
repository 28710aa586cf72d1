"""The calls to users-service, the authority on tenants and memberships."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

from shared.clients import ServiceClient, UnexpectedAnswer
from shared.problems import ServiceUnavailable


class TenantReply(BaseModel):
    id: UUID
    slug: str
    name: str
    tier: str
    status: str
    version: int | None = None
    """None: users-service is of an earlier release."""
    settings: dict[str, Any] | None = None
    """None: not reported, so what is stored stays."""


class MembershipReply(BaseModel):
    """A membership as users-service knows it now; fields that are not read here are ignored."""

    id: UUID
    user_id: UUID
    tenant: TenantReply
    roles: list[str]
    status: Literal["invited", "active", "suspended"]
    version: int
    created_at: datetime


class _Memberships(BaseModel):
    items: list[MembershipReply]


class _Operator(BaseModel):
    tenant_id: UUID


class UsersReplyUnreadable(ServiceUnavailable):
    """users-service sent an answer that this release cannot read."""

    status, title = 503, "The answer of users-service cannot be read"


async def memberships_of(users: ServiceClient, user_id: UUID) -> list[MembershipReply]:
    """Every membership of the person that has not ended. Raises ServiceUnavailable."""
    with _raising_unreadable():
        found = await users.read("/internal/memberships", _Memberships, params={"user_id": str(user_id)})
    return found.items if found is not None else []


async def membership(users: ServiceClient, tenant_id: UUID, user_id: UUID) -> MembershipReply | None:
    """The person's membership in the tenant; None if there is none or it has ended. Raises ServiceUnavailable."""
    with _raising_unreadable():
        return await users.read(f"/internal/memberships/{tenant_id}/{user_id}", MembershipReply)


async def accept(users: ServiceClient, tenant_id: UUID, user_id: UUID) -> MembershipReply | None:
    """Accept an invitation; None if it no longer exists. Raises ServiceUnavailable."""
    path = f"/internal/memberships/{tenant_id}/{user_id}/accept"
    with _raising_unreadable():
        try:
            return await users.send("POST", path, None, MembershipReply)
        except UnexpectedAnswer as answer:
            if answer.received_status == 404:
                return None
            raise


async def operators(users: ServiceClient) -> list[MembershipReply]:
    """Every membership with the role of operators. Raises ServiceUnavailable."""
    with _raising_unreadable():
        found = await users.read("/internal/operators", _Memberships)
    return found.items if found is not None else []


async def make_operator(users: ServiceClient, user_id: UUID, tenant_id: UUID) -> MembershipReply | None:
    """Make an active member of the tenant an operator; None if the person is not one. Raises ServiceUnavailable."""
    with _raising_unreadable():
        try:
            body = _Operator(tenant_id=tenant_id)
            return await users.send("PUT", f"/internal/operators/{user_id}", body, MembershipReply)
        except UnexpectedAnswer as answer:
            if answer.received_status == 404:
                return None
            raise


async def remove_operator(users: ServiceClient, user_id: UUID) -> None:
    """Take the role of operators from the person in all their tenants. Raises ServiceUnavailable."""
    with _raising_unreadable():
        await users.send("DELETE", f"/internal/operators/{user_id}", None)


async def undo_registration(users: ServiceClient, user_id: UUID) -> bool:
    """Undo a registration, if there was one; False if users-service knows its account as active.

    Raises ServiceUnavailable.
    """
    with _raising_unreadable():
        try:
            await users.send("DELETE", f"/internal/registrations/{user_id}", None)
        except UnexpectedAnswer as answer:
            if answer.received_code == "registration_confirmed":
                return False
            raise
    return True


@contextmanager
def _raising_unreadable() -> Iterator[None]:
    """Raises UsersReplyUnreadable for an answer that the block does not handle."""
    try:
        yield
    except UnexpectedAnswer as answer:
        raise UsersReplyUnreadable from answer
