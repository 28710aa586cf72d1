"""A person's linked identities; linking one is a ceremony of upstream_sign_in."""

from typing import Annotated

from fastapi import Query

from auth_service.deps import Address, Settings
from auth_service.identities import service
from auth_service.identities.schemas import IdentityOut
from auth_service.identities.service import IdentityNotFound, LastSignInMethod
from auth_service.mails.deps import MailsDep
from auth_service.sessions.signed_in import AccountOwner
from shared.deps import Db, ExampleId
from shared.problems import InsufficientUserAuthentication, raises
from shared.web.paging import CursorPage, ListQuery
from shared.web.router import Router

router = Router(prefix="/auth/identities", tags=["identities"])


@router.get("")
async def list_identities(user: AccountOwner, db: Db, query: Annotated[ListQuery, Query()]) -> CursorPage[IdentityOut]:
    """The caller's linked identities."""
    found, next_cursor = await service.page(db, user.user_id, query)
    return CursorPage(items=[IdentityOut.of(*one) for one in found], next_cursor=next_cursor)


@router.delete("/{identity_id}", status_code=204)
@raises(IdentityNotFound, LastSignInMethod, InsufficientUserAuthentication)
async def unlink_identity(
    identity_id: ExampleId, user: AccountOwner, db: Db, mails: MailsDep, settings: Settings, address: Address
) -> None:
    """Unlink an identity; the last way to sign in stays. Needs a recent sign-in or step-up."""
    await service.unlink(db, user, identity_id, mails, settings, address)
