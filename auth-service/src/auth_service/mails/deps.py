"""The dependency of path operations that send mail: mails in the language that the client asks for."""

from typing import Annotated

from fastapi import Depends, Header

from auth_service.deps import KeyringDep, Settings
from auth_service.languages import preferred
from auth_service.mails.service import Mails


async def mails(
    keyring: KeyringDep,
    settings: Settings,
    accept_language: Annotated[str | None, Header(description="The language of mails: en, de, es or fr.")] = None,
) -> Mails:
    return Mails(keyring, settings.mails, preferred(accept_language))


MailsDep = Annotated[Mails, Depends(mails)]
