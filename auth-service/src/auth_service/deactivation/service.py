"""The rules of deactivating an account, which ends all that acts for its person, and of reactivating it.

Nothing that has ended comes back with the reactivation: the person signs in again, and makes new API keys.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import ACTIVE, DEACTIVATED, Account, lock_account
from auth_service.api_keys import service as api_keys
from auth_service.audit import service as audit
from auth_service.authorization.models import AuthorizationCode
from auth_service.deactivation.events import AccountDeactivated, AccountReactivated, By
from auth_service.device_authorization.models import DeviceCode
from auth_service.links.models import Link
from auth_service.mails.service import Mails
from auth_service.mails.texts import Purpose
from auth_service.mfa.models import PasskeyChallenge
from auth_service.sessions import ending
from auth_service.settings import AuthSettings
from auth_service.sign_in.models import MfaAttempt
from auth_service.tickets.models import Ticket
from auth_service.upstream_sign_in.models import UpstreamCeremony
from shared.events import outbox

OWNER: Final[By] = "owner"
OPERATOR: Final[By] = "operator"

_PENDING: Final = (Link, Ticket, MfaAttempt, AuthorizationCode, DeviceCode, UpstreamCeremony, PasskeyChallenge)
"""What could still become a session of the person, or change their account."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who deactivates or reactivates an account: its owner, from a session and an address, or an operator.

    `account_id` is the operator's own account, if it is known. `reason` is the operator's.
    """

    by: By
    account_id: UUID | None = None
    session_id: UUID | None = None
    address: str | None = None
    reason: str | None = None


async def deactivate(db: AsyncSession, account_id: UUID, actor: Actor, mails: Mails, settings: AuthSettings) -> bool:
    """Deactivate the account and end all that acts for its person; False if it is not active.

    An operator also takes over what its owner has deactivated: then the owner can no longer reactivate it.
    """
    account = await lock_account(db, account_id)
    if account is None or not _may_deactivate(account, actor):
        return False
    account.status, account.deactivated_by = DEACTIVATED, actor.by
    await end_everything(db, account, "account_deactivated", actor.address)
    outbox.add(db, AccountDeactivated(subject=account.id, by=actor.by))
    _record(db, "account_deactivated", account, actor)
    if account.email is not None:
        purpose: Purpose = "account_deactivated" if actor.by == OWNER else "account_deactivated_by_operator"
        link = settings.page("reactivate")
        mails.queue(db, purpose, account.email, username=account.username, link=link)
    return True


async def reactivate(db: AsyncSession, account_id: UUID, actor: Actor, mails: Mails) -> bool:
    """Make the account active again; False if it is not deactivated, or was by an operator and `actor` is none."""
    account = await lock_account(db, account_id)
    if account is None or not _may_reactivate(account, actor):
        return False
    account.status, account.deactivated_by = ACTIVE, None
    outbox.add(db, AccountReactivated(subject=account.id, by=actor.by))
    _record(db, "account_reactivated", account, actor)
    if account.email is not None:
        mails.queue(db, "account_reactivated", account.email, username=account.username)
    return True


async def end_everything(
    db: AsyncSession,
    account: Account,
    reason: Literal["account_deactivated", "account_erased"],
    address: str | None,
) -> None:
    """End all that acts for the account's person, or could begin to. The account's row is locked by the caller."""
    await ending.end_all(db, account.id, reason, address)
    await api_keys.revoke_all(db, account.id, reason, address)
    for table in _PENDING:
        await db.execute(delete(table).where(table.account_id == account.id))


def is_reactivable(account: Account) -> bool:
    """Whether its owner may reactivate the account."""
    return account.status == DEACTIVATED and account.deactivated_by == OWNER


def _may_deactivate(account: Account, actor: Actor) -> bool:
    return account.status == ACTIVE or (actor.by == OPERATOR and is_reactivable(account))


def _may_reactivate(account: Account, actor: Actor) -> bool:
    return is_reactivable(account) or (actor.by == OPERATOR and account.status == DEACTIVATED)


def _record(
    db: AsyncSession, kind: Literal["account_deactivated", "account_reactivated"], account: Account, actor: Actor
) -> None:
    reason: dict[str, Any] = {} if actor.reason is None else {"reason": actor.reason}
    audit.record(
        db,
        kind,
        account_id=account.id,
        actor_id=actor.account_id,
        session_id=actor.session_id,
        address=actor.address,
        by=actor.by,
        **reason,
    )
