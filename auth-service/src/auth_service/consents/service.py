"""Remembering what a person allowed a client, and withdrawing it."""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import delete, exists, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import lock_account
from auth_service.audit import service as audit
from auth_service.clients.models import Client, clients_by_id
from auth_service.consents.models import Consent
from auth_service.memberships.models import Tenant
from auth_service.sessions import ending
from shared.problems import NotFound
from shared.web.paging import ListQuery, by_cursor


class ConsentNotFound(NotFound):
    """The caller has given no such consent."""

    status, title = 404, "No such consent"


async def is_given(
    db: AsyncSession, account_id: UUID, client_id: UUID, tenant_id: UUID, scopes: Collection[str]
) -> bool:
    """Whether the person allowed the client all of `scopes` in the tenant before."""
    consent = await db.scalar(
        select(Consent).where(
            Consent.account_id == account_id, Consent.client_id == client_id, Consent.tenant_id == tenant_id
        )
    )
    return consent is not None and set(scopes) <= set(consent.scopes)


async def give(
    db: AsyncSession, account_id: UUID, client: Client, tenant_id: UUID, scopes: Collection[str], address: str
) -> None:
    """Remember that the person allows the client `scopes`, beside those allowed before."""
    row = insert(Consent).values(account_id=account_id, client_id=client.id, tenant_id=tenant_id, scopes=sorted(scopes))
    both = text("ARRAY(SELECT DISTINCT unnest(oauth_consents.scopes || excluded.scopes) ORDER BY 1)")
    columns = ["account_id", "client_id", "tenant_id"]
    await db.execute(row.on_conflict_do_update(index_elements=columns, set_={"scopes": both}))
    audit.record(
        db,
        "consent_given",
        account_id=account_id,
        tenant_id=tenant_id,
        address=address,
        client_id=str(client.id),
        scopes=sorted(scopes),
    )


async def page(
    db: AsyncSession, account_id: UUID, query: ListQuery
) -> tuple[Sequence[Consent], dict[UUID, Client], str | None]:
    """The person's consents, their clients, and the cursor of the next page."""
    rows = select(Consent).where(Consent.account_id == account_id)
    found, next_cursor = await by_cursor(db, rows, query, {"created_at": Consent.created_at}, Consent.id)
    return found, await clients_by_id(db, {consent.client_id for consent in found}), next_cursor


async def withdraw(db: AsyncSession, account_id: UUID, consent_id: UUID, address: str) -> None:
    """Delete the consent, and end the client's sessions of the person in that tenant. Raises ConsentNotFound."""
    await lock_account(db, account_id)
    consent = await db.get(Consent, consent_id, with_for_update=True)
    if consent is None or consent.account_id != account_id:
        raise ConsentNotFound
    client_id = str(consent.client_id)
    await ending.end_of_client(db, account_id, consent.tenant_id, client_id, "consent_withdrawn", address)
    await db.delete(consent)
    audit.record(
        db,
        "consent_withdrawn",
        account_id=account_id,
        tenant_id=consent.tenant_id,
        address=address,
        client_id=client_id,
    )


async def prune(db: AsyncSession) -> None:
    """Delete the consents in tenants that were erased."""
    await db.execute(delete(Consent).where(~exists().where(Tenant.id == Consent.tenant_id)))
