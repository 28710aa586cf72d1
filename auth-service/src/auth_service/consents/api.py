from typing import Annotated

from fastapi import Query

from auth_service.consents import service
from auth_service.consents.schemas import ConsentOut
from auth_service.consents.service import ConsentNotFound
from auth_service.deps import Address
from auth_service.sessions.signed_in import AccountOwner
from shared.deps import Db, ExampleId
from shared.problems import raises
from shared.web.paging import CursorPage, ListQuery
from shared.web.router import Router

router = Router(prefix="/oauth2/consents", tags=["clients"])


@router.get("")
async def list_consents(user: AccountOwner, db: Db, query: Annotated[ListQuery, Query()]) -> CursorPage[ConsentOut]:
    """What the caller allowed which clients, in all their tenants."""
    found, clients, next_cursor = await service.page(db, user.user_id, query)
    items = [
        ConsentOut(
            id=consent.id,
            client_id=consent.client_id,
            client_name=clients[consent.client_id].name,
            tenant_id=consent.tenant_id,
            scope=" ".join(consent.scopes),
            created_at=consent.created_at,
        )
        for consent in found
    ]
    return CursorPage(items=items, next_cursor=next_cursor)


@router.delete("/{consent_id}", status_code=204)
@raises(ConsentNotFound)
async def withdraw_consent(consent_id: ExampleId, user: AccountOwner, db: Db, address: Address) -> None:
    """Withdraw a consent. The client's sessions end, and its tokens within two seconds."""
    await service.withdraw(db, user.user_id, consent_id, address)
