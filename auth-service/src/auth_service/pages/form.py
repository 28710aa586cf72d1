"""A form that one of the pages sent, as a dependency."""

from typing import Annotated, Any

from fastapi import Depends, Request

from auth_service.deps import Settings
from auth_service.forms import FORM, form_fields
from auth_service.pages.rendering import render
from auth_service.pages.service import FormRefused, is_own_form
from shared.problems import UnsupportedMediaType
from shared.web.early_responses import AnswerInstead
from shared.web.json_input import checked


async def form(request: Request, settings: Settings) -> dict[str, Any]:
    """The fields of a form that one of these pages sent. Raises AnswerInstead, MalformedRequest, InvalidInput."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise UnsupportedMediaType(f"Send {FORM}.")
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if not is_own_form(origin, site, settings.public_url):
        raise AnswerInstead(render(request, settings, "message", message="form_refused", problem=FormRefused()))
    fields: dict[str, Any] = checked(form_fields(await request.body()))
    return fields


Form = Annotated[dict[str, Any], Depends(form)]
