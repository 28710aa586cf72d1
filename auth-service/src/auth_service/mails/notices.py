"""Mails that notify a person of a change of what protects their account."""

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import Account
from auth_service.mails.service import Mails
from auth_service.mails.texts import Notice
from auth_service.settings import AuthSettings


def notify(
    db: AsyncSession, mails: Mails, settings: AuthSettings, account: Account, notice: Notice, **values: object
) -> None:
    """Queue a notice to the account's verified address; without one there is none to send.

    Its link leads to a new password, for a person who has not made the change.
    """
    if account.email is not None:
        link = settings.page("password/reset")
        mails.queue(db, notice, account.email, username=account.username, link=link, **values)
