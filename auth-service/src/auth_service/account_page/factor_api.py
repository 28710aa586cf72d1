"""The pages that add and remove second factors.

A page that shows a secret, which it does once, is itself the answer to its form; every other form ends with a redirect.
"""

from collections.abc import Sequence
from typing import Final

import orjson
from fastapi import Response

from auth_service.account_page.deps import AccountForm, ConfirmedOwner
from auth_service.account_page.factors import OwnFactors, OwnFactorsDep
from auth_service.account_page.page import AccountPage, AccountPageDep, done
from auth_service.account_page.schemas import PasskeyForm, TotpCodeForm
from auth_service.account_page.service import ACCOUNT
from auth_service.forms import filled, validated
from auth_service.mfa.qr_code import qr_code
from auth_service.mfa.schemas import TotpIn
from auth_service.mfa.service import FactorRefused
from shared.deps import ExampleId
from shared.problems import Problem
from shared.web.router import Router

_PATH: Final = f"{ACCOUNT}/factors"

router = Router(prefix=_PATH, include_in_schema=False)


@router.get("/app")
async def show_add_app(owner: ConfirmedOwner, page: AccountPageDep) -> Response:
    return page.show("app", name="")


@router.post("/app")
async def submit_add_app(fields: AccountForm, factors: OwnFactorsDep, page: AccountPageDep) -> Response:
    try:
        name = validated(TotpIn, filled(fields)).name
        async with factors.changing() as changes:
            factor, secret, uri = await changes.factors.enrol_totp(changes.account, name)
    except Problem as problem:
        return page.show("app", name=fields.get("name", ""), problem=problem)
    return page.show("app_code", factor_id=factor.id, secret=secret, uri=uri, qr_code=qr_code(uri))


@router.post("/app/confirm")
async def submit_confirm_app(fields: AccountForm, factors: OwnFactorsDep, page: AccountPageDep) -> Response:
    try:
        form = validated(TotpCodeForm, fields)
        async with factors.changing() as changes:
            _, codes = await changes.confirm_totp(form.factor_id, form.code.replace(" ", ""))
    except FactorRefused as problem:  # the app has the secret already, which is shown once
        return page.show("app_code", factor_id=fields.get("factor_id", ""), secret="", problem=problem)
    except Problem as problem:
        return page.failed(problem)
    return _added(page, codes)


@router.get("/passkey")
async def show_add_passkey(factors: OwnFactorsDep, page: AccountPageDep) -> Response:
    return await _passkey_page(factors, page)


@router.post("/passkey")
async def submit_add_passkey(fields: AccountForm, factors: OwnFactorsDep, page: AccountPageDep) -> Response:
    try:
        form = validated(PasskeyForm, filled(fields))
        async with factors.changing() as changes:
            _, codes = await changes.add_passkey(form.name, form.credential)
    except Problem as problem:
        return await _passkey_page(factors, page, fields.get("name", ""), problem)
    return _added(page, codes)


@router.get("/recovery-codes")
async def show_new_recovery_codes(owner: ConfirmedOwner, page: AccountPageDep) -> Response:
    return page.ask("recovery_codes", f"{_PATH}/recovery-codes")


@router.post("/recovery-codes")
async def submit_new_recovery_codes(fields: AccountForm, factors: OwnFactorsDep, page: AccountPageDep) -> Response:
    try:
        async with factors.changing() as changes:
            codes = await changes.new_recovery_codes()
    except Problem as problem:
        return page.failed(problem)
    return page.show("codes", codes=codes, is_first=False)


@router.get("/{factor_id}/remove")
async def show_remove_factor(factor_id: ExampleId, factors: OwnFactorsDep, page: AccountPageDep) -> Response:
    try:
        name = await factors.name_of(factor_id)
    except Problem as problem:
        return page.failed(problem)
    return page.ask("remove_factor", f"{_PATH}/{factor_id}/remove", name=name)


@router.post("/{factor_id}/remove")
async def submit_remove_factor(
    factor_id: ExampleId, fields: AccountForm, factors: OwnFactorsDep, page: AccountPageDep
) -> Response:
    try:
        async with factors.changing() as changes:
            await changes.remove(factor_id)
    except Problem as problem:
        return page.failed(problem)
    return done("factor_removed")


async def _passkey_page(
    factors: OwnFactors, page: AccountPage, name: str = "", problem: Problem | None = None
) -> Response:
    """The page with a new challenge: each is answered once."""
    options = orjson.dumps(await factors.passkey_options()).decode()
    return page.show("passkey", name=name, options=options, runs_script=True, problem=problem)


def _added(page: AccountPage, codes: Sequence[str] | None) -> Response:
    """The recovery codes that came with the first factor, or the account's first page."""
    return done("factor_added") if codes is None else page.show("codes", codes=codes, is_first=True)
