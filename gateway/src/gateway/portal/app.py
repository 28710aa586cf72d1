"""The FastAPI application for the gateway's own public paths; forwarded requests do not pass through FastAPI."""

from collections.abc import Callable
from html import escape
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from gateway.http.exchange import Exchange, Message
from gateway.portal.catalogue import Explained, catalogue
from gateway.portal.merge import Document
from gateway.portal.openapi import Published
from shared.deps import Conditions
from shared.problems import NotFound
from shared.web import errors, health, openapi

ALLOW: Final = "GET, HEAD, OPTIONS"
_PATHS: Final = frozenset({"/", "/openapi.json", "/livez", "/readyz", "/health"})
_PROBLEMS: Final = "/problems/"

_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title><style>body{{font:1rem/1.5 system-ui;max-width:40rem;margin:3rem auto;padding:0 1rem}}</style>
{body}</html>"""
_PAGE_HEADERS: Final = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


class Portal:
    """Serves the gateway's own paths."""

    def __init__(
        self, checks: health.HealthChecks, shown_settings: Callable[[], dict[str, Any]], published: Published
    ) -> None:
        self._app = application(checks, shown_settings, published)

    @property
    def document(self) -> Document:
        """The OpenAPI document of the gateway's own paths."""
        return Document.model_validate(self._app.openapi())

    def name_of(self, path: str) -> str | None:
        """The template of one of the gateway's own public paths, None for any other."""
        return path if path in _PATHS else f"{_PROBLEMS}{{code}}" if path.startswith(_PROBLEMS) else None

    async def respond(self, exchange: Exchange) -> None:
        """Respond to a GET or HEAD request by FastAPI, with the headers that the gateway adds to every response."""

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                await exchange.begin(message["status"], list(message["headers"]))
            else:
                await exchange.send(message)

        exchange.scope.setdefault("state", {})["request_id"] = exchange.request_id
        # FastAPI routes no HEAD; it is handled as GET, and the server omits the body
        await self._app({**exchange.scope, "method": "GET"}, exchange.receive, send)


def application(
    checks: health.HealthChecks, shown_settings: Callable[[], dict[str, Any]], published: Published
) -> FastAPI:
    """The application that serves the gateway's own public paths."""
    app = FastAPI(
        title="Flotilla gateway",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    errors.install(app)
    openapi.describe(app)
    health.install(app, checks, shown_settings)
    known = catalogue()

    @app.get("/", include_in_schema=False)
    async def front() -> HTMLResponse:
        return _page("Flotilla", "<h1>Flotilla</h1><p>The gateway is running. Sign in with POST /auth/login.</p>")

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi_document(response: Response, conditions: Conditions) -> Response:
        conditions.shows(published.version, cache_control="no-cache")
        headers = {"ETag": response.headers["ETag"], "Cache-Control": "no-cache"}
        return Response(published.body, media_type="application/json", headers=headers)

    @app.get("/problems/{code}", response_model=Explained, tags=["problems"])
    async def explain_problem(code: str, request: Request) -> Response:
        """Explain a problem code, as JSON or as an HTML page."""
        found = known.get(code)
        if found is None:
            raise NotFound("No problem has this code.")
        if "text/html" in request.headers.get("accept", ""):
            return _page(found.title, _explained(found))
        return JSONResponse(found.model_dump(), headers={"Vary": "Accept"})

    return app


def _page(title: str, body: str) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(title=escape(title), body=body), headers={**_PAGE_HEADERS, "Vary": "Accept"})


def _explained(problem: Explained) -> str:
    return (
        f"<h1>{escape(problem.title)}</h1><p><code>{escape(problem.code)}</code>, status {problem.status}</p>"
        f"<p>{escape(problem.cause)}</p><p>{escape(problem.remedy)}</p>"
    )
