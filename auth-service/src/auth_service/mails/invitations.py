"""The mail of an invitation. A tenant fills in names; the link is made here, and nothing else becomes one."""

from sqlalchemy import exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.mails import branding
from auth_service.mails.models import OutgoingMail
from auth_service.mails.schemas import InvitationMailIn
from auth_service.mails.service import Mails
from auth_service.mails.texts import unlinked
from auth_service.settings import AuthSettings


async def queue(db: AsyncSession, mails: Mails, wanted: InvitationMailIn, settings: AuthSettings) -> None:
    """Queue the mail, unless a mail with this id was queued before. Raises MailLimitReached, AddressUnmailable."""
    await db.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"mail {wanted.mail_id}", 0))))
    if await db.scalar(select(exists().where(OutgoingMail.id == wanted.mail_id))):
        return
    await mails.check_limit(db, "invitation", wanted.email)
    branded = await branding.of_tenant(db, mails, wanted.tenant.id, settings)
    branded.queue(
        db,
        "invitation",
        wanted.email,
        wanted.mail_id,
        inviter=unlinked(wanted.inviter_name),
        tenant=unlinked(wanted.tenant.name),
        slug=wanted.tenant.slug,
        roles=", ".join(wanted.roles),
        link=settings.page(f"invitation?token={wanted.token}"),
        expires=wanted.expires_at.strftime("%Y-%m-%d %H:%M UTC"),
    )
