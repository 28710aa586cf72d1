"""The HTML pages: an entrance for people, Swagger UI and ReDoc. All that they load comes from this origin."""

import secrets
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from gateway.portal.catalogue import Explained
from gateway.portal.compressed import CompressedFiles
from shared.problems import NotFound
from shared.web.conditional import Conditions

ASSETS: Final = "/assets"
DOCS: Final = "/docs"
REDOC: Final = "/redoc"

_PLAIN: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Both viewers draw with scripts from this origin. ReDoc adds style elements, which carry the nonce of its page.
_VIEWER: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'{nonce}; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TEMPLATES: Final = files("gateway.portal") / "templates"


class Front(BaseModel):
    """What is at `/`. `docs` and `redoc` are null where the pages are off."""

    name: str = Field(examples=["Flotilla"])
    version: str = Field(examples=["1"])
    docs: str | None = Field(examples=["/docs"])
    redoc: str | None = Field(examples=["/redoc"])
    openapi: str = Field(examples=["/openapi.json"])
    health: str = Field(examples=["/health"])


def front(*, docs: bool) -> Front:
    return Front(
        name="Flotilla",
        version="1",
        docs=DOCS if docs else None,
        redoc=REDOC if docs else None,
        openapi="/openapi.json",
        health="/health",
    )


def wants_html(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def front_page(*, docs: bool, url: str, development: bool) -> HTMLResponse:
    """`url` is the gateway's; `development` names the demo account."""
    hint = (
        "<code>make up</code> prints the password of the demo account <code>ann</code>."
        if development
        else "Use your own account."
    )
    links = "\n".join(
        f'<li><a href="{path}"><strong>{name}</strong>{text}</a></li>' for path, name, text in _links(docs)
    )
    return _page("front", {"links": links, "hint": hint, "url": escape(url)}, _PLAIN, vary=True)


def _links(docs: bool) -> list[tuple[str, str, str]]:
    viewers = [
        (DOCS, "Try the API", "Swagger UI: sign in and send requests."),
        (REDOC, "Read the API", "ReDoc: every operation and its fields."),
    ]
    return [
        *(viewers if docs else []),
        ("/openapi.json", "OpenAPI", "The document, for generated clients."),
        ("/health", "Health", "Whether this gateway is ready."),
    ]


def problem_page(problem: Explained) -> HTMLResponse:
    shown = {name: escape(str(value)) for name, value in problem.model_dump().items()}
    return _page("problem", shown, _PLAIN, vary=True)


def install(app: FastAPI, *, docs: bool) -> None:
    """Serve the files that pages load and, with `docs`, Swagger UI and ReDoc."""
    assets = CompressedFiles(files("gateway.portal") / "static")

    @app.get(f"{ASSETS}/{{path:path}}", include_in_schema=False)
    async def read_asset(path: str, request: Request, conditions: Conditions) -> Response:
        found = await assets.find(path)
        if found is None:
            raise NotFound("No page has this file.")
        return found.response(request, conditions)

    if not docs:
        return

    @app.get(DOCS, include_in_schema=False)
    async def swagger_ui() -> HTMLResponse:
        return _page("docs", {}, _VIEWER.format(nonce=""))

    @app.get(REDOC, include_in_schema=False)
    async def redoc() -> HTMLResponse:
        nonce = secrets.token_urlsafe(16)
        return _page("redoc", {"nonce": nonce}, _VIEWER.format(nonce=f" 'nonce-{nonce}'"))


def _page(name: str, values: Mapping[str, str], policy: str, *, vary: bool = False) -> HTMLResponse:
    """The template with its values, which are HTML already."""
    text = Template((_TEMPLATES / f"{name}.html").read_text(encoding="utf-8")).substitute(values)
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-cache"} | ({"Vary": "Accept"} if vary else {})
    return HTMLResponse(text, headers=headers)
