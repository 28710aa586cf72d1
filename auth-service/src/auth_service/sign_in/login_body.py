"""Reading a sign-in: JSON, or the OAuth2 password form, on one path."""

from typing import Annotated, Any, Final

from fastapi import Depends, Request

from auth_service.forms import FORM, form_fields, validated
from auth_service.sign_in.schemas import LoginForm, LoginIn
from shared.problems import UnsupportedMediaType, raises
from shared.web.json_input import Input, checked, parse
from shared.web.openapi_problems import READING_A_BODY

JSON: Final = "application/json"


@raises(*READING_A_BODY)
async def login_body(request: Request) -> LoginIn:
    """The sign-in that was sent. Raises UnsupportedMediaType, MalformedRequest, InvalidInput."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    if media_type == JSON:
        return validated(LoginIn, await parse(body))
    if media_type != FORM:
        raise UnsupportedMediaType(f"Send {JSON} or {FORM}.")
    form = validated(LoginForm, checked(form_fields(body)))
    return LoginIn(username=form.username, password=form.password, tenant=form.tenant, scope=form.scope)


LoginBody = Annotated[LoginIn, Depends(login_body)]


def openapi_body(*, json: type[Input], form: type[Input]) -> dict[str, Any]:
    """The OpenAPI description of such a body, because FastAPI cannot read it from a dependency."""
    content = {media: {"schema": model.model_json_schema()} for media, model in ((JSON, json), (FORM, form))}
    return {"requestBody": {"required": True, "content": content}}
