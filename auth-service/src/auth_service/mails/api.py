"""Mails that other services ask for because they carry a secret."""

from fastapi import Depends

from auth_service.deps import KeyringDep, Settings
from auth_service.languages import preferred
from auth_service.mails import invitations
from auth_service.mails.schemas import InvitationMailIn
from auth_service.mails.service import AddressUnmailable, MailLimitReached, Mails
from shared.deps import Db, require_grant
from shared.problems import raises
from shared.web.router import Router

router = Router(prefix="/internal/mails", tags=["internal"], dependencies=[Depends(require_grant("mails:send"))])


@router.post("/invitation", status_code=202)
@raises(MailLimitReached, AddressUnmailable)
async def send_invitation(body: InvitationMailIn, db: Db, keyring: KeyringDep, settings: Settings) -> None:
    """Mail an invitation with a link to its page, once for each `mail_id`."""
    await invitations.queue(db, Mails(keyring, settings.mails, preferred(body.locale)), body, settings)
