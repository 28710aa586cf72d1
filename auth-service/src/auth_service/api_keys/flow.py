"""Creating an API key, and redeeming one.

It is redeemed by one statement, unless the gateway knows of a newer membership than this database.
"""

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import find_account
from auth_service.api_keys import service
from auth_service.api_keys.models import ApiKey
from auth_service.api_keys.schemas import ApiKeyIn
from auth_service.api_keys.service import Holder
from auth_service.mails.notices import notify
from auth_service.mails.service import Mails
from auth_service.memberships import service as memberships
from auth_service.memberships import users_api
from auth_service.mfa.service import require_step_up
from auth_service.settings import AuthSettings
from shared.clients import ServiceClient
from shared.data.database import Database
from shared.identity import Principal
from shared.identity.access_tokens import ACCESS_TTL_S
from shared.identity.api_keys import is_well_formed
from shared.problems import InvalidToken


async def create_key(
    db: AsyncSession, user: Principal, asked: ApiKeyIn, mails: Mails, settings: AuthSettings, address: str
) -> tuple[ApiKey, str]:
    """A new key of a person who has confirmed recently that it is them, and its text, which is stored nowhere.

    The person gets a mail about it. Raises InsufficientUserAuthentication, InvalidInput, ApiKeyLimitReached, NoTenant.
    """
    await require_step_up(db, user)
    made, key = await service.make(
        db, user, name=asked.name, scopes=asked.scopes, expires_at=asked.expires_at, address=address
    )
    if (account := await find_account(db, user.user_id)) is not None:
        notify(db, mails, settings, account, "api_key_created", name=made.name)
    return made, key


@dataclass(frozen=True)
class Redemption:
    database: Database
    users: ServiceClient
    public_url: str

    async def redeem(self, key: str, *, confirm: bool) -> dict[str, Any]:
        """The claims of the person behind the key.

        With `confirm` the membership is read from users-service first. Raises InvalidToken; ServiceUnavailable if
        users-service had to be asked and did not answer.
        """
        holder = await service.find_holder(self.database, key) if is_well_formed(key) else None
        if holder is not None and confirm:
            await self._confirm(holder)
            holder = await service.find_holder(self.database, key)
        if holder is None:
            raise InvalidToken("The API key is wrong, expired or revoked, or its person is not active in its tenant.")
        person = holder.principal(self.public_url, int(time.time()) + ACCESS_TTL_S)
        claims = {name: value for name, value in person.to_claims().items() if name != "person_exp"}
        return {**claims, "iss": self.public_url, "aud": self.public_url, "exp": person.expires_at}

    async def _confirm(self, holder: Holder) -> None:
        reply = await users_api.membership(self.users, holder.key.tenant_id, holder.account.id)
        async with self.database.transaction(holder.key.tenant_id) as db:
            if reply is not None:
                await memberships.store_reply(db, reply)
            else:
                await memberships.store_end(db, holder.member)
