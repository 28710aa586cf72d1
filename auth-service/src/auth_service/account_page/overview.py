"""What the account's first page shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from auth_service.account_page.deps import Owner
from auth_service.account_page.service import READ_KEYS
from auth_service.accounts.models import usernames
from auth_service.api_keys import service as api_keys
from auth_service.api_keys.models import ApiKey
from auth_service.clients.models import clients_by_id
from auth_service.consents import service as consents
from auth_service.consents.models import Consent
from auth_service.identities import service as identities
from auth_service.identities.models import Identity
from auth_service.identity_providers import service as providers
from auth_service.identity_providers.models import IdentityProvider
from auth_service.keyring import Keyring
from auth_service.memberships.models import Tenant, tenants_by_id
from auth_service.mfa import recovery_codes
from auth_service.mfa.models import Passkey, TotpFactor
from auth_service.mfa.service import Factors
from auth_service.sessions import service as sessions
from auth_service.sessions.devices import readable
from auth_service.sessions.models import CLIENT_ID, Session
from auth_service.settings import AuthSettings
from shared.data.database import Database
from shared.web.paging import ListQuery

_NEWEST: Final = ListQuery(limit=50)


@dataclass(frozen=True, slots=True)
class OpenSession:
    """`device` is what the person recognizes it by: the application, or browser and system.

    `operator` is the username of an operator who acts as the person in it; None for a session of the person.
    """

    session: Session
    tenant: Tenant | None
    device: str | None
    operator: str | None


@dataclass(frozen=True, slots=True)
class Overview:
    """The newest 50 of each list; `is_cut` names the lists that have more.

    `keys` are those of the session's tenant; None: the person's roles do not allow to see them.
    """

    apps: Sequence[TotpFactor]
    passkeys: Sequence[Passkey]
    recovery_codes_left: int
    sessions: Sequence[OpenSession]
    consents: Sequence[Consent]
    client_names: Mapping[UUID, str]
    identities: Sequence[tuple[Identity, IdentityProvider]]
    providers: Sequence[IdentityProvider]
    tenants: Mapping[UUID, Tenant]
    keys: Sequence[ApiKey] | None
    is_cut: frozenset[str]


async def overview(database: Database, keyring: Keyring, settings: AuthSettings, owner: Owner) -> Overview:
    account_id = owner.account.id
    async with database.transaction() as db:
        apps, passkeys = await Factors(db, keyring, settings).list(account_id)
        left = await recovery_codes.left(db, account_id)
        opened, more_sessions = await sessions.page(db, account_id, _NEWEST, settings.sessions)
        given, clients, more_consents = await consents.page(db, account_id, _NEWEST)
        linked, more_identities = await identities.page(db, account_id, _NEWEST)
        keys = (await api_keys.page(db, owner.user, _NEWEST))[0] if READ_KEYS in owner.user.scopes else None
        offered = await providers.offered(db, owner.user.tenant_id)
        tenants = await tenants_by_id(db, {one.tenant_id for one in opened} | {one.tenant_id for one in given})
        clients |= await clients_by_id(db, {UUID(one.client_id) for one in opened if one.client_id != CLIENT_ID})
        operators = await usernames(db, {one.impersonator_id for one in opened if one.impersonator_id})
    names = {client.id: client.name for client in clients.values()}
    more = {"sessions": more_sessions, "consents": more_consents, "identities": more_identities}
    return Overview(
        apps=apps,
        passkeys=passkeys,
        recovery_codes_left=left,
        sessions=[
            OpenSession(one, tenants.get(one.tenant_id), _recognized(one, names), _operator(one, operators))
            for one in sorted(opened, key=lambda one: one.id != owner.session.id)
        ],
        consents=given,
        client_names=names,
        identities=linked,
        providers=offered,
        tenants=tenants,
        keys=keys,
        is_cut=frozenset(name for name, cursor in more.items() if cursor is not None),
    )


def _operator(session: Session, usernames_by_id: Mapping[UUID, str]) -> str | None:
    operator_id = session.impersonator_id
    return None if operator_id is None else usernames_by_id.get(operator_id, str(operator_id))


def _recognized(session: Session, client_names: Mapping[UUID, str]) -> str | None:
    if session.client_id != CLIENT_ID:
        return client_names.get(UUID(session.client_id)) or readable(session.device)
    return readable(session.device)
