"""The FastAPI application for the gateway's own public paths; forwarded requests do not pass through FastAPI."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from gateway.http.exchange import Exchange, Message
from gateway.portal import pages, protected_resource
from gateway.portal.catalogue import Explained, catalogue
from gateway.portal.merge import Document
from gateway.portal.openapi import Published
from shared.problems import NotFound, raises
from shared.web import errors, health, openapi
from shared.web.conditional import Conditions

ALLOW: Final = "GET, HEAD, OPTIONS"
_PATHS: Final = frozenset({"/", "/openapi.json", protected_resource.PATH, "/livez", "/readyz", "/health"})
# With two of the fleet's scopes: the example must not change with the services that are installed.
_EXAMPLE: Final = protected_resource.protected_resource("https://app.example").model_copy(
    update={"scopes_supported": ["jobs:read", "openid"]}
)
_RESOURCE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"application/json": {"example": _EXAMPLE.model_dump()}}}
}
_PREFIXES: Final = {"/problems/": "/problems/{code}", f"{pages.ASSETS}/": f"{pages.ASSETS}/{{file}}"}


@dataclass(frozen=True, slots=True)
class Entrance:
    """What the pages show: whether Swagger UI and ReDoc are on, the gateway's URL, and the demo account."""

    docs: bool
    url: str
    development: bool


class Portal:
    """Serves the gateway's own paths."""

    def __init__(
        self,
        checks: health.HealthChecks,
        shown_settings: Callable[[], dict[str, Any]],
        published: Published,
        entrance: Entrance,
    ) -> None:
        self._app = application(checks, shown_settings, published, entrance)
        self._paths = _PATHS | ({pages.DOCS, pages.REDOC} if entrance.docs else set())

    @property
    def document(self) -> Document:
        """The OpenAPI document of the gateway's own paths."""
        return Document.model_validate(self._app.openapi())

    def name_of(self, path: str) -> str | None:
        """The template of one of the gateway's own public paths, None for any other."""
        if path in self._paths:
            return path
        return next((template for prefix, template in _PREFIXES.items() if path.startswith(prefix)), None)

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
    checks: health.HealthChecks,
    shown_settings: Callable[[], dict[str, Any]],
    published: Published,
    entrance: Entrance,
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
    pages.install(app, docs=entrance.docs)
    known = catalogue()

    @app.get("/", response_model=pages.Front, tags=["front"])
    async def read_front(request: Request) -> Response:
        """What this is and where to go on, as JSON or as an HTML page."""
        if pages.wants_html(request):
            return pages.front_page(docs=entrance.docs, url=entrance.url, development=entrance.development)
        return JSONResponse(pages.front(docs=entrance.docs).model_dump(), headers={"Vary": "Accept"})

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi_document(request: Request, conditions: Conditions) -> Response:
        return published.document.response(request, conditions)

    @app.get(protected_resource.PATH, tags=["front"], responses=_RESOURCE)
    async def read_protected_resource(response: Response) -> protected_resource.ProtectedResource:
        """This API as an OAuth resource: its authorization server and its scopes (RFC 9728)."""
        response.headers["Cache-Control"] = "public, max-age=300"
        return protected_resource.protected_resource(entrance.url)

    @app.get("/problems/{code}", response_model=Explained, tags=["problems"])
    @raises(NotFound)
    async def explain_problem(code: str, request: Request) -> Response:
        """Explain a problem code, as JSON or as an HTML page."""
        found = known.get(code)
        if found is None:
            raise NotFound("No problem has this code.")
        if pages.wants_html(request):
            return pages.problem_page(found)
        return JSONResponse(found.model_dump(), headers={"Vary": "Accept"})

    return app
