from typing import Annotated

from fastapi import Depends

from auth_service.deps import Address, KeyringDep, Settings
from auth_service.magic_links.flow import MagicLinks
from auth_service.mails.deps import MailsDep
from auth_service.sign_in.api import SignInDep
from shared.deps import DatabaseDep


async def magic_links(
    database: DatabaseDep,
    keyring: KeyringDep,
    mails: MailsDep,
    sign_in: SignInDep,
    settings: Settings,
    address: Address,
) -> MagicLinks:
    return MagicLinks(database, keyring, mails, sign_in, settings, address)


MagicLinksDep = Annotated[MagicLinks, Depends(magic_links)]
