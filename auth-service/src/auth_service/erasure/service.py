"""The rules of erasing an account. The row stays, without anything about its person, so that no id is used again."""

from typing import Final
from uuid import UUID

from sqlalchemy import delete, func
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import ACTIVE, DEACTIVATED, ERASED, NO_PASSWORD, lock_account
from auth_service.audit import service as audit
from auth_service.consents.models import Consent
from auth_service.deactivation.service import end_everything
from auth_service.erasure.events import AccountErased
from auth_service.identities.models import Identity
from auth_service.links.models import Link
from auth_service.mfa.models import Passkey, RecoveryCode, TotpFactor
from auth_service.sessions.models import Session
from shared.events import outbox

_OWNED: Final = (TotpFactor, Passkey, RecoveryCode, Identity, Consent, Session)
"""What belongs to the person beside what `end_everything` deletes."""


async def erase(db: AsyncSession, account_id: UUID, operator_id: UUID | None) -> bool:
    """Erase an active or deactivated account: False for any other. `operator_id` is the operator's own account.

    All that acts for the person ends. Username and email are free for others. Addresses and details in the audit trail
    are wiped; its chain stays whole.
    """
    account = await lock_account(db, account_id)
    if account is None or account.status not in (ACTIVE, DEACTIVATED):
        return False
    await end_everything(db, account, "account_erased", None)
    for table in _OWNED:
        await db.execute(delete(table).where(table.account_id == account.id))
    if account.email is not None:  # links to an address alone, such as one that makes an operator
        await db.execute(delete(Link).where(func.lower(Link.email) == func.lower(account.email)))
    account.status, account.deactivated_by = ERASED, None
    account.username, account.password_hash = f"erased-{account.id.hex}", NO_PASSWORD
    account.email = account.unverified_email = account.last_tenant_id = None
    outbox.add(db, AccountErased(subject=account.id))
    await audit.erase(db, account.id)
    audit.record(db, "account_erased", account_id=account.id, actor_id=operator_id)
    return True
