"""The account's first page, and the changes that need no confirmation: ending sessions and withdrawing consents."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query, Response

from auth_service.account_page.deps import AccountForm, FactorConfirmedOwner, OwnerDep
from auth_service.account_page.overview import overview
from auth_service.account_page.page import AccountPageDep, done
from auth_service.account_page.service import ACCOUNT, WRITE_KEYS
from auth_service.accounts.models import NO_PASSWORD
from auth_service.consents import service as consents
from auth_service.consents.service import ConsentNotFound
from auth_service.deps import Address, KeyringDep, Settings
from auth_service.email_verification.api import EmailVerificationDep
from auth_service.email_verification.schemas import VerificationIn
from auth_service.forms import validated
from auth_service.passwords.api import PasswordChangeDep
from auth_service.passwords.schemas import PasswordIn
from auth_service.sessions import ending
from auth_service.sessions.ending import SessionNotFound
from shared.deps import DatabaseDep, ExampleId
from shared.identity.scopes import DESCRIPTIONS
from shared.problems import Problem
from shared.web.router import Router

router = Router(prefix=ACCOUNT, include_in_schema=False)


@router.get("")
async def show_account(
    owner: OwnerDep,
    page: AccountPageDep,
    database: DatabaseDep,
    keyring: KeyringDep,
    settings: Settings,
    done: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    found = await overview(database, keyring, settings, owner)
    return page.show(
        "overview",
        owner=owner,
        found=found,
        done=done,
        now=datetime.now(UTC),
        scope_meanings=DESCRIPTIONS,
        creates_keys=WRITE_KEYS in owner.user.scopes,
    )


@router.post("/sessions/{session_id}/end")
async def submit_end_session(
    session_id: ExampleId, fields: AccountForm, owner: OwnerDep, database: DatabaseDep, address: Address
) -> Response:
    async with database.transaction() as db:
        with suppress(SessionNotFound):  # it has ended meanwhile
            await ending.end_own(db, owner.account.id, session_id, "ended_by_owner", address)
    return done("session_ended")


@router.post("/sessions/end-others")
async def submit_end_other_sessions(
    fields: AccountForm, owner: OwnerDep, database: DatabaseDep, address: Address
) -> Response:
    async with database.transaction() as db:
        await ending.end_others(db, owner.user, "ended_by_owner", address)
    return done("sessions_ended")


@router.post("/consents/{consent_id}/withdraw")
async def submit_withdraw_consent(
    consent_id: ExampleId, fields: AccountForm, owner: OwnerDep, database: DatabaseDep, address: Address
) -> Response:
    async with database.transaction() as db:
        with suppress(ConsentNotFound):  # it was withdrawn meanwhile
            await consents.withdraw(db, owner.account.id, consent_id, address)
    return done("consent_withdrawn")


@router.get("/password")
async def show_password(owner: FactorConfirmedOwner, page: AccountPageDep) -> Response:
    return page.show("password", has_password=owner.account.password_hash != NO_PASSWORD)


@router.post("/password")
async def submit_password(
    fields: AccountForm, owner: FactorConfirmedOwner, page: AccountPageDep, change: PasswordChangeDep
) -> Response:
    try:
        body = validated(PasswordIn, fields)
        await change.change(owner.user, body.current_password, body.password, body.confirm_password)
    except Problem as problem:
        return page.show("password", has_password=True, problem=problem)
    return done("password_changed")


@router.get("/email")
async def show_email(owner: FactorConfirmedOwner, page: AccountPageDep) -> Response:
    return page.show("email", email="")


@router.post("/email")
async def submit_email(
    fields: AccountForm, owner: FactorConfirmedOwner, page: AccountPageDep, verification: EmailVerificationDep
) -> Response:
    try:
        body = validated(VerificationIn, {**fields, "username": owner.account.username})
        await verification.request(body.username, body.password, body.email, user=owner.user)
    except Problem as problem:
        return page.show("email", email=fields.get("email", ""), problem=problem)
    return done("verification_sent")
