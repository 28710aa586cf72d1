"""Rendering a page in the language that the browser asks for."""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from auth_service.languages import preferred
from auth_service.memberships.models import Tenant
from auth_service.settings import AuthSettings
from auth_service.tenant_settings import settings_of, shown_name
from shared.problems import Problem

_POLICY: Final = "default-src 'none'; style-src 'self'; {}form-action {}; base-uri 'none'; frame-ancestors 'none'"

HEADERS: Final = {
    "Content-Security-Policy": _POLICY.format("", "'self'"),
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
    request: Request,
    settings: AuthSettings,
    name: str,
    /,
    *,
    problem: Problem | None = None,
    form_actions: Sequence[str] = (),
    runs_script: bool = False,
    languages: str | None = None,
    brand: Tenant | None = None,
    **values: Any,
) -> HTMLResponse:
    """The page of that name; with a problem, which it explains, its status is the problem's.

    `form_actions` are the origins that its form may end at, besides this one: browsers apply `form-action` to the
    redirect that answers a form. `languages` are those that the request asks for (`ui_locales`), the best first.
    `runs_script`: the page loads a script of this service, as passkeys need one. `brand` is the tenant whose name and
    color it shows.
    """
    language = preferred(languages.replace(" ", ",") if languages else request.headers.get("accept-language"))
    chosen = settings_of(brand, settings)
    shown = {
        "text": page_texts(language),
        "language": language,
        "product": shown_name(chosen.name, settings.mails.product),
        "color": chosen.color,
        "problem": problem,
        **values,
    }
    html = _environment.get_template(f"{name}.html").render(shown)
    policy = _POLICY.format("script-src 'self'; " if runs_script else "", " ".join(["'self'", *form_actions]))
    headers = {**HEADERS, "Content-Security-Policy": policy, **(problem.headers if problem else {})}
    return HTMLResponse(html, problem.status if problem else 200, headers=headers)
