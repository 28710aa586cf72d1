"""The pages that create and revoke API keys in the tenant that the session is in."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fastapi import Depends, Response

from auth_service.account_page.deps import AccountForm, ConfirmedOwner, Owner, OwnerDep
from auth_service.account_page.page import AccountPage, AccountPageDep, done
from auth_service.account_page.schemas import ApiKeyForm
from auth_service.account_page.service import ACCOUNT, WRITE_KEYS
from auth_service.api_keys import service
from auth_service.api_keys.flow import create_key
from auth_service.api_keys.schemas import ApiKeyIn
from auth_service.api_keys.service import ApiKeyNotFound
from auth_service.deps import Address, Settings
from auth_service.forms import filled, validated
from auth_service.mails.deps import MailsDep
from shared.deps import DatabaseDep, ExampleId
from shared.identity.scopes import LISTED
from shared.problems import InsufficientScope, Problem
from shared.web.early_responses import AnswerInstead
from shared.web.router import Router

_PATH: Final = f"{ACCOUNT}/api-keys"
_SCOPE: Final = "scope:"
"""How the form's fields of scopes begin: each has a name of its own, because a form has no field twice."""

_VALID_FOR_D: Final = (7, 30, 90, 365)
_USUAL_D: Final = 90


async def may_change_keys(owner: OwnerDep, page: AccountPageDep) -> None:
    """Check that the person's roles allow to create and revoke API keys. Raises AnswerInstead."""
    if WRITE_KEYS not in owner.user.scopes:
        raise AnswerInstead(page.failed(InsufficientScope(scopes=(WRITE_KEYS,))))


router = Router(prefix=_PATH, include_in_schema=False, dependencies=[Depends(may_change_keys)])


@router.get("/new")
async def show_new_key(owner: ConfirmedOwner, page: AccountPageDep) -> Response:
    return _page(page, owner, {"days": str(_USUAL_D)})


@router.post("/new")
async def submit_new_key(
    fields: AccountForm,
    owner: ConfirmedOwner,
    page: AccountPageDep,
    database: DatabaseDep,
    mails: MailsDep,
    settings: Settings,
    address: Address,
) -> Response:
    try:
        asked = _asked(fields)
        async with database.transaction(owner.user.tenant_id) as db:
            made, key = await create_key(db, owner.user, asked, mails, settings, address)
    except Problem as problem:
        return _page(page, owner, fields, problem)
    return page.show("key_made", name=made.name, key=key)


@router.get("/{key_id}/revoke")
async def show_revoke_key(key_id: ExampleId, owner: OwnerDep, page: AccountPageDep, database: DatabaseDep) -> Response:
    try:
        async with database.transaction(owner.user.tenant_id) as db:
            key = await service.own(db, owner.user, key_id)
    except Problem as problem:
        return page.failed(problem)
    return page.ask("revoke_key", f"{_PATH}/{key_id}/revoke", name=key.name, prefix=key.prefix)


@router.post("/{key_id}/revoke")
async def submit_revoke_key(
    key_id: ExampleId, fields: AccountForm, owner: OwnerDep, database: DatabaseDep, address: Address
) -> Response:
    async with database.transaction(owner.user.tenant_id) as db:
        with suppress(ApiKeyNotFound):  # it was revoked meanwhile
            await service.revoke(db, owner.user, key_id, address)
    return done("key_revoked")


def _asked(fields: Mapping[str, Any]) -> ApiKeyIn:
    """The key that the form asks for. Raises InvalidInput."""
    typed = {name: value for name, value in filled(fields).items() if not name.startswith(_SCOPE)}
    form = validated(ApiKeyForm, typed)
    expires_at = None if form.days is None else datetime.now(UTC) + timedelta(days=form.days)
    return validated(ApiKeyIn, {"name": form.name, "scopes": _scopes(fields), "expires_at": expires_at})


def _scopes(fields: Mapping[str, Any]) -> list[str]:
    return [name.removeprefix(_SCOPE) for name in fields if name.startswith(_SCOPE)]


def _page(page: AccountPage, owner: Owner, fields: Mapping[str, Any], problem: Problem | None = None) -> Response:
    """The form, filled in as it was sent."""
    grantable = service.grantable(owner.user)
    return page.show(
        "key",
        problem=problem,
        tenant=owner.tenant.name,
        name=fields.get("name", ""),
        scopes=[scope for scope in LISTED if scope["name"] in grantable],
        chosen=_scopes(fields),
        days=str(fields.get("days", "")),
        valid_for_d=_VALID_FOR_D,
    )
