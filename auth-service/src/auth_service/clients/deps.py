"""The client that authenticates at an OAuth endpoint, as a dependency."""

from typing import Annotated, Final

from fastapi import Depends, Request

from auth_service.clients.authentication import (
    BY_ID,
    Authenticated,
    Credentials,
    authenticated,
    check_assertion,
    credentials,
    tenant_of,
)
from auth_service.clients.models import Client
from auth_service.deps import Settings
from auth_service.forms import FORM, form_fields
from auth_service.oauth_errors import InvalidClient, OAuthError
from auth_service.settings import AuthSettings
from shared.data.database import Database
from shared.deps import DatabaseDep
from shared.problems import BodyTooLarge, Problem, RequestTimeout, raises
from shared.web.json_input import checked

Form = dict[str, str]


FORM_REFUSALS: Final = (
    OAuthError("invalid_request", "A parameter is missing or repeated."),
    RequestTimeout,
    BodyTooLarge,
)


@raises(*FORM_REFUSALS)
async def oauth_form(request: Request) -> Form:
    """The parameters of a POST to an OAuth endpoint; empty ones count as omitted (RFC 6749, section 3.2).

    Raises OAuthError for anything but a form in which each parameter is once.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise OAuthError("invalid_request", f"Send {FORM}.")
    if request.scope["query_string"]:
        raise OAuthError("invalid_request", "Parameters belong into the body, not into the URL.")
    try:
        fields: Form = checked(form_fields(await request.body()))
    except Problem as problem:
        raise OAuthError("invalid_request", problem.errors[0].detail if problem.errors else problem.detail) from None
    return {name: value for name, value in fields.items() if value}


OAuthForm = Annotated[Form, Depends(oauth_form)]


async def authenticate(request: Request, form: Form, database: Database, settings: AuthSettings) -> Authenticated:
    """The client that the request authenticates. Raises InvalidClient, OAuthError."""
    shown = credentials(request.headers.get("authorization"), form)
    row = await database.first(BY_ID, client_id=shown.client_id)
    found = authenticated(row, shown)
    await check_proof(request, shown, found, database, settings)
    return Authenticated(found, None if row is None else tenant_of(row))


@raises(InvalidClient)
async def client(request: Request, form: OAuthForm, database: DatabaseDep, settings: Settings) -> Client:
    """The client that the request authenticates. Raises InvalidClient, OAuthError."""
    return (await authenticate(request, form, database, settings)).client


async def check_proof(
    request: Request, shown: Credentials, found: Client, database: Database, settings: AuthSettings
) -> None:
    """Verify the assertion of a client that authenticates by one, once. Raises InvalidClient."""
    if shown.method != "private_key_jwt":
        return
    audiences = frozenset({settings.public_url, f"{settings.public_url}/oauth2/token", _asked(request, settings)})
    async with database.transaction() as db:
        await check_assertion(db, found, shown.secret, audiences)


ClientDep = Annotated[Client, Depends(client)]


def _asked(request: Request, settings: AuthSettings) -> str:
    """The endpoint's own public URL."""
    return f"{settings.public_url}{request.url.path}"
