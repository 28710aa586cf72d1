"""Rendering a page in the language that the browser asks for."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from auth_service.mails.texts import preferred
from auth_service.settings import AuthSettings
from shared.problems import Problem

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # the URL holds a token; a form must still be sent with its Origin
    "Vary": "Accept-Language",
    "X-Frame-Options": "DENY",
}

_environment: Final = Environment(
    loader=PackageLoader("auth_service.pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


@cache
def page_texts(language: str) -> Mapping[str, str]:
    """The texts of one of the languages, by name."""
    content = files("auth_service.pages").joinpath("languages", f"{language}.toml").read_text(encoding="utf-8")
    return tomllib.loads(content)


def render(
    request: Request, settings: AuthSettings, name: str, *, problem: Problem | None = None, **values: Any
) -> HTMLResponse:
    """The page of that name; with a problem, which it explains, its status is the problem's."""
    language = preferred(request.headers.get("accept-language"))
    shown = {
        "text": page_texts(language),
        "language": language,
        "product": settings.mails.product,
        "problem": problem,
        **values,
    }
    html = _environment.get_template(f"{name}.html").render(shown)
    headers = HEADERS if problem is None else {**HEADERS, **problem.headers}
    return HTMLResponse(html, problem.status if problem else 200, headers=headers)
