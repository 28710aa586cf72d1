"""The name and texts of a tenant in a mail: plain text, of which no mail program makes a link.

Only mails to an address whose person knows the tenant have them: to an account's verified address, by the tenant that
it was last signed in to, and invitations. Else a tenant could write to anyone in the operator's name.
"""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import Account
from auth_service.mails.service import Mails
from auth_service.memberships.models import Tenant
from auth_service.settings import AuthSettings
from auth_service.tenant_settings import settings_of


async def of_account(db: AsyncSession, mails: Mails, account: Account | None, settings: AuthSettings) -> Mails:
    """Mails of the tenant that the account was last signed in to. The work is the same without an account."""
    return await of_tenant(db, mails, account.last_tenant_id if account is not None else None, settings)


async def of_tenant(db: AsyncSession, mails: Mails, tenant_id: UUID | None, settings: AuthSettings) -> Mails:
    """Mails of that tenant; the operator's if it is not known."""
    tenant = await db.scalar(select(Tenant).where(Tenant.id == tenant_id))
    chosen = settings_of(tenant, settings)
    text = chosen.mail_texts.get(mails.language)
    return mails.of(chosen.name, intro=text.intro if text else None, footer=text.footer if text else None)
