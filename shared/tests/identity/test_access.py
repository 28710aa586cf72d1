"""The dependencies in a real application on a real socket: HTTP and WebSocket, 401 before 403 before the look-up."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import httpx2
import pytest
import structlog
import uvicorn
from fastapi import Depends, FastAPI, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from structlog.contextvars import get_contextvars
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from shared.identity.access import (
    CurrentUser,
    OptionalUser,
    require_any_scope,
    require_grant,
    require_recent,
    require_scopes,
)
from shared.identity.access_tokens import AccessTokenVerifier
from shared.identity.principal import Principal, ServiceCaller
from shared.identity.revocation_entries import FeedPage, SessionEnded, feed_page
from shared.identity.revocations import Revocations
from shared.identity.verifier import Verifier
from shared.problems import NotFound, Problem
from shared.resources import Resources

from .fleet import Fleet, person, until


@dataclass
class Counting:
    """The verifier, with the number of tokens it was shown."""

    inner: Verifier
    asked: int = 0

    async def caller(self, token: str) -> Principal | ServiceCaller:
        self.asked += 1
        return await self.inner.caller(token)


def _add_recent_operations(app: FastAPI, looked_up: list[str]) -> None:
    @app.post("/keys", dependencies=[Depends(require_recent(max_age_s=600))])
    async def keys() -> None:
        looked_up.append("keys")

    @app.post("/factors", dependencies=[Depends(require_recent(max_age_s=600, acr="aal2"))])
    async def factors() -> None:
        looked_up.append("factors")


def application(resources: Resources, looked_up: list[str]) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        yield {"resources": resources}

    app = FastAPI(lifespan=lifespan)

    @app.exception_handler(Problem)
    async def refuse(request: Request, problem: Problem) -> Response:
        return JSONResponse(problem.body(), problem.status, problem.headers)

    @app.get("/me")
    async def me(user: CurrentUser, again: OptionalUser) -> dict[str, Any]:
        return {"username": user.username, "same": again is user, "bound": get_contextvars()}

    @app.get("/anyone")
    async def anyone(user: OptionalUser) -> dict[str, Any]:
        return {"username": user and user.username}

    @app.get("/rooms/{room_id}", dependencies=[Depends(require_scopes("chat:read", "files:read"))])
    async def room(room_id: int, user: OptionalUser) -> None:
        looked_up.append(str(room_id))
        raise NotFound

    @app.get("/numbers")
    async def numbers(user: Annotated[Principal, Depends(require_any_scope("analytics:read", "admin:read"))]) -> str:
        return user.username

    _add_recent_operations(app, looked_up)

    @app.put("/internal/thing")
    async def thing(
        service: Annotated[ServiceCaller, Depends(require_grant("registrations:write"))], user: OptionalUser
    ) -> str:
        return f"{service.name} {user}"

    @app.websocket("/ws")
    async def socket(socket: WebSocket, user: CurrentUser) -> None:
        await socket.accept()
        await socket.send_text(user.username)
        await socket.close()

    return app


@pytest.fixture
def verifier(fleet: Fleet) -> Counting:
    return Counting(fleet.verifier("chat"))


@pytest.fixture
def resources(verifier: Counting) -> Resources:
    opened = Resources()
    opened.add(verifier, Verifier)
    opened.add(Revocations({}))
    return opened


@pytest.fixture
def looked_up() -> list[str]:
    return []


@pytest.fixture
async def address(resources: Resources, looked_up: list[str]) -> AsyncIterator[str]:
    app = application(resources, looked_up)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, ws="websockets-sansio"))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"127.0.0.1:{port}"
    server.should_exit = True
    await serving


@pytest.fixture
async def client(address: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=f"http://{address}") as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_a_person_is_known_and_bound_to_the_log(
    fleet: Fleet, client: httpx2.AsyncClient, verifier: Counting
) -> None:
    ann = person()
    reply = await client.get("/me", headers=bearer(fleet.signer("gateway").forward(ann, "chat")))
    assert reply.json() == {
        "username": "ann",
        "same": True,
        "bound": {"user": str(ann.user_id), "tenant": str(ann.tenant_id)},
    }
    assert verifier.asked == 1
    structlog.contextvars.clear_contextvars()


async def test_a_request_without_a_token_is_challenged(client: httpx2.AsyncClient) -> None:
    for headers in ({}, {"Authorization": "Basic YW5uOnB3"}, {"Authorization": "token"}):
        reply = await client.get("/me", headers=headers)
        assert (reply.status_code, reply.json()["code"]) == (401, "unauthenticated")
        assert reply.headers["WWW-Authenticate"] == 'Bearer realm="flotilla"'


async def test_a_token_that_does_not_count_says_invalid_token(fleet: Fleet, client: httpx2.AsyncClient) -> None:
    for credentials in ("", " x", " " + "x" * 20_000, " " + fleet.internal(aud="users")):
        reply = await client.get("/me", headers={"Authorization": f"Bearer{credentials}"})
        assert (reply.status_code, reply.json()["code"]) == (401, "invalid_token")
        assert 'error="invalid_token"' in reply.headers["WWW-Authenticate"]


async def test_two_tokens_in_one_request_are_refused(fleet: Fleet, client: httpx2.AsyncClient) -> None:
    header = ("Authorization", f"Bearer {fleet.internal()}")
    assert (await client.get("/me", headers=[header, header])).status_code == 401


async def test_a_token_in_a_query_a_form_or_a_cookie_is_not_looked_at(fleet: Fleet, client: httpx2.AsyncClient) -> None:
    token = fleet.internal()
    headers = {"Cookie": f"access_token={token}", "X-Access-Token": token, "X-User-ID": str(person().user_id)}
    reply = await client.get("/me", params={"access_token": token, "token": token}, headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (401, "unauthenticated")


async def test_the_scheme_is_read_without_regard_to_case(fleet: Fleet, client: httpx2.AsyncClient) -> None:
    assert (await client.get("/me", headers={"Authorization": f"bEARER {fleet.internal()}"})).status_code == 200


async def test_an_optional_user_may_be_nobody_but_never_a_bad_token(fleet: Fleet, client: httpx2.AsyncClient) -> None:
    assert (await client.get("/anyone")).json() == {"username": None}
    assert (await client.get("/anyone", headers=bearer(fleet.internal()))).json() == {"username": "ann"}
    assert (await client.get("/anyone", headers=bearer("x"))).status_code == 401


async def test_a_missing_scope_is_403_before_any_look_up(
    fleet: Fleet, client: httpx2.AsyncClient, looked_up: list[str]
) -> None:
    poor = fleet.internal(scope="chat:read")
    for path in ("/rooms/1", "/rooms/not-a-number"):
        reply = await client.get(path, headers=bearer(poor))
        assert (reply.status_code, reply.json()["code"]) == (403, "insufficient_scope")
        assert reply.headers["WWW-Authenticate"] == (
            'Bearer realm="flotilla", error="insufficient_scope", scope="chat:read files:read"'
        )
    assert looked_up == []
    assert (await client.get("/rooms/1", headers=bearer(fleet.internal()))).status_code == 404
    assert (await client.get("/rooms/1")).status_code == 401


NOW = int(time.time())


@pytest.mark.parametrize(
    ("path", "claims", "challenge"),
    [
        ("/keys", {"auth_time": NOW - 601}, 'max_age="600"'),
        ("/keys", {"auth_time": ...}, 'max_age="600"'),
        ("/factors", {"auth_time": NOW - 601, "acr": "aal2"}, 'acr_values="aal2", max_age="600"'),
        ("/factors", {"acr": "aal1"}, 'acr_values="aal2", max_age="600"'),
        ("/factors", {"acr": ...}, 'acr_values="aal2", max_age="600"'),
        ("/factors", {"acr": "aal3"}, 'acr_values="aal2", max_age="600"'),
    ],
)
async def test_a_weak_or_old_authentication_is_challenged(
    fleet: Fleet, client: httpx2.AsyncClient, looked_up: list[str], path: str, claims: dict[str, Any], challenge: str
) -> None:
    reply = await client.post(path, headers=bearer(fleet.internal(**claims)))
    assert (reply.status_code, reply.json()["code"]) == (401, "insufficient_user_authentication")
    error = 'Bearer realm="flotilla", error="insufficient_user_authentication"'
    assert reply.headers["WWW-Authenticate"] == f"{error}, {challenge}"
    assert looked_up == []


async def test_a_recent_authentication_of_the_level_passes(
    fleet: Fleet, client: httpx2.AsyncClient, looked_up: list[str]
) -> None:
    for path, acr in (("/keys", "aal1"), ("/keys", "aal2"), ("/factors", "aal2")):
        token = fleet.internal(acr=acr, auth_time=int(time.time()) - 590)
        assert (await client.post(path, headers=bearer(token))).is_success
    assert looked_up == ["keys", "keys", "factors"]
    assert (await client.post("/keys")).status_code == 401


async def test_one_of_several_scopes_is_enough_where_any_is_asked_for(fleet: Fleet, client: httpx2.AsyncClient) -> None:
    assert (await client.get("/numbers", headers=bearer(fleet.internal(scope="admin:read")))).status_code == 200
    reply = await client.get("/numbers", headers=bearer(fleet.internal()))
    assert (reply.status_code, reply.json()["code"]) == (403, "insufficient_scope")


async def test_a_scope_that_the_cap_takes_away_is_missing(fleet: Fleet, client: httpx2.AsyncClient) -> None:
    admin = person(scopes=frozenset({"admin:read", "files:read"}))
    assert (await client.get("/numbers", headers=bearer(fleet.signer("gateway").forward(admin, "chat")))).is_success
    reply = await client.get("/numbers", headers=bearer(fleet.signer("tasks").sign_for(admin, "chat")))
    assert reply.status_code == 403


async def test_a_service_passes_where_services_do_and_nowhere_else(fleet: Fleet, client: httpx2.AsyncClient) -> None:
    auth = bearer(fleet.signer("auth").sign_as_service("chat"))
    assert (await client.put("/internal/thing", headers=auth)).json() == "auth None"
    assert (await client.get("/me", headers=auth)).status_code == 401
    assert (await client.get("/anyone", headers=auth)).json() == {"username": None}
    for other in (fleet.signer("tasks").sign_as_service("chat"), fleet.internal()):
        reply = await client.put("/internal/thing", headers=bearer(other))
        assert (reply.status_code, reply.json()["code"]) == (403, "forbidden")
    assert (await client.put("/internal/thing")).status_code == 401


@pytest.mark.parametrize("internal", [True, False])
async def test_a_revoked_session_is_refused_and_no_cache_can_bring_it_back(
    fleet: Fleet,
    client: httpx2.AsyncClient,
    resources: Resources,
    verifier: Counting,
    access: AccessTokenVerifier,
    internal: bool,
) -> None:
    ann = person()
    token = fleet.signer("gateway").forward(ann, "chat") if internal else fleet.access_token(ann)
    verifier.inner = fleet.verifier("chat", access)
    assert (await client.get("/me", headers=bearer(token))).status_code == 200

    async def feed(after: str | None, seen: str | None) -> FeedPage:
        entry = SessionEnded(id=ann.session_id or ann.user_id, expires_at=ann.expires_at)
        return feed_page([entry], datetime.now(UTC))

    revocations = resources.add(Revocations({"auth": feed}))
    await revocations.poll("auth")
    for _ in range(2):
        reply = await client.get("/me", headers=bearer(token))
        assert (reply.status_code, reply.json()["code"]) == (401, "invalid_token")
        access.forget()


async def test_a_web_socket_is_guarded_by_the_same_dependency(fleet: Fleet, address: str) -> None:
    async with connect(f"ws://{address}/ws", additional_headers=bearer(fleet.internal())) as socket:
        assert await socket.recv() == "ann"
    with pytest.raises(InvalidStatus, match="401"):
        await connect(f"ws://{address}/ws?token={fleet.internal()}")


async def test_openapi_shows_the_scheme_and_the_scopes(client: httpx2.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"]["bearer"] == {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
    }
    assert document["paths"]["/rooms/{room_id}"]["get"]["security"] == [{"bearer": ["chat:read", "files:read"]}]
    assert document["paths"]["/me"]["get"]["security"] == [{"bearer": []}]
    assert "security" not in document["paths"]["/anyone"]["get"]


def test_requiring_no_scope_at_all_is_an_error() -> None:
    for require in (require_scopes, require_any_scope):
        with pytest.raises(ValueError, match="no scope is given"):
            require()
