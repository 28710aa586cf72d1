"""The pages of deactivated accounts, and of reactivating one by a mailed link. Opening the link spends nothing."""

from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse

from auth_service.deactivation.api import DeactivationDep
from auth_service.deactivation.schemas import ReactivationConfirmIn, ReactivationIn
from auth_service.deps import Settings
from auth_service.forms import validated
from auth_service.pages.form import Form
from auth_service.pages.rendering import render
from shared.problems import Problem
from shared.web.router import Router

router = Router(prefix="/auth/pages", include_in_schema=False)


@router.get("/deactivated")
async def show_deactivated(request: Request, settings: Settings) -> Response:
    onward = "/auth/pages/reactivate"
    return render(request, settings, "message", message="deactivated", onward=onward, onward_text="reactivate_link")


@router.get("/reactivate")
async def show_reactivation(request: Request, settings: Settings) -> Response:
    return render(request, settings, "reactivate", email="")


@router.post("/reactivate")
async def submit_reactivation(
    request: Request, settings: Settings, fields: Form, deactivation: DeactivationDep
) -> Response:
    try:
        await deactivation.request(validated(ReactivationIn, fields).email)
    except Problem as problem:
        return render(request, settings, "reactivate", email=fields.get("email", ""), problem=problem)
    return RedirectResponse("/auth/pages/reactivate/sent", status_code=303)


@router.get("/reactivate/sent")
async def show_reactivation_sent(request: Request, settings: Settings) -> Response:
    return render(request, settings, "message", message="reset_sent")


@router.get("/reactivate/confirm")
async def show_reactivation_confirm(
    request: Request, settings: Settings, token: Annotated[str, Query(max_length=100)] = ""
) -> Response:
    return render(request, settings, "reactivate_confirm", token=token)


@router.post("/reactivate/confirm")
async def submit_reactivation_confirm(
    request: Request, settings: Settings, fields: Form, deactivation: DeactivationDep
) -> Response:
    try:
        await deactivation.reactivate(validated(ReactivationConfirmIn, fields).token)
    except Problem as problem:
        return render(request, settings, "reactivate", email="", problem=problem)
    return RedirectResponse("/auth/pages/reactivated", status_code=303)


@router.get("/reactivated")
async def show_reactivated(request: Request, settings: Settings) -> Response:
    return render(request, settings, "message", message="reactivated")
