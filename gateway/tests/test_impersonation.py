"""Impersonation at the edge: where it is refused, and that the services and the log see who acts."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx2
import jwt
import pytest

from gateway.routes.file import TableInvalid, load, parse
from shared.testing.waiting import eventually

OPERATOR: Final = uuid4()
ACT: Final = {"sub": str(OPERATOR), "kind": "impersonation"}

NEVER: Final = re.compile(
    r"/oauth2/|/auth/(impersonate|sessions|password|mfa|api-keys|identities|identity-providers|audit|logout-all|deactivate)"
    r"|/(schedules|subscriptions|shares|exports?|transfers?|invitations/accept)(/|$)"
)
"""The paths that design and docs exclude, also those of operations that are still to come."""


@pytest.fixture
def impersonated(sign_in: Any) -> Any:
    """Headers of an operator who acts as the person."""

    def headers(name: str, **about: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {sign_in.token(sign_in.principal(name, **about), act=ACT)}"}

    return headers


def published_operations() -> Iterator[Any]:
    """Every public operation of the services' contracts that needs a caller."""
    for contract in sorted(Path(__file__).parents[2].glob("*-service/contracts/openapi.json")):
        for path, operations in json.loads(contract.read_text())["paths"].items():
            for method, operation in operations.items():
                if operation.get("security") and not path.startswith("/internal/"):
                    yield pytest.param(path, id=f"{method.upper()} {path}")


@pytest.mark.parametrize("path", list(published_operations()))
def test_what_is_never_for_an_operator_is_marked_in_the_table(path: str) -> None:
    route = load().find(path)
    assert route is not None
    if NEVER.search(path):
        assert route.no_impersonation
    elif route.no_impersonation:
        assert path.startswith(("/auth/", "/oauth2/"))  # refused unless the route says otherwise


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/auth/sessions"),
        ("POST", "/auth/impersonate"),
        ("DELETE", "/auth/impersonate"),
        ("POST", "/auth/password"),
        ("POST", "/auth/mfa/totp"),
        ("POST", "/auth/api-keys"),
        ("GET", "/oauth2/userinfo"),
        ("GET", "/oauth2/consents"),
        ("POST", "/oauth2/clients"),
        ("GET", "/oauth2/my-scopes"),
    ],
)
async def test_it_is_refused_before_scopes(
    client: Any, impersonated: Any, upstream: Any, method: str, path: str
) -> None:
    reply = await client.request(method, path, headers=impersonated("ann", roles=["user"]))
    assert (reply.status_code, reply.json()["code"]) == (403, "impersonation_refused")
    assert upstream.calls == 0


async def test_the_person_is_let_through_there(client: Any, sign_in: Any, upstream: Any) -> None:
    assert (await client.get("/auth/sessions", headers=sign_in("ann"))).status_code == 200
    assert upstream.calls == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/auth/me"), ("POST", "/auth/logout"), ("POST", "/auth/tickets"), ("GET", "/api/v1/profile")],
)
async def test_elsewhere_the_service_learns_who_acts(client: Any, impersonated: Any, method: str, path: str) -> None:
    reply = await client.request(method, path, headers=impersonated("ann"))
    assert reply.status_code == 200
    sent = dict(reply.json()["headers"])["authorization"].removeprefix("Bearer ")
    assert jwt.decode(sent, options={"verify_signature": False})["act"] == ACT


async def test_a_ticket_learns_it_too(client: Any, sign_in: Any, auth: Any) -> None:
    path = "/api/v1/files/1/content"
    token = sign_in.token(sign_in.principal("ann"), act=ACT)
    auth.tickets[("t1", path)] = jwt.decode(token, options={"verify_signature": False})
    sent = dict((await client.get(f"{path}?ticket=t1")).json()["headers"])["authorization"].removeprefix("Bearer ")
    assert jwt.decode(sent, options={"verify_signature": False})["act"] == ACT


async def test_a_client_that_acts_by_token_exchange_impersonates_nobody(client: Any, sign_in: Any) -> None:
    """Its `act` has no kind, and ends here: the token is the client's by `client_id`."""
    principal = replace(sign_in.principal("ann"), client_id=str(uuid4()))
    token = sign_in.token(principal, act={"sub": principal.client_id})
    reply = await client.get("/oauth2/my-scopes", headers={"Authorization": f"Bearer {token}"})
    assert reply.status_code == 200
    sent = dict(reply.json()["headers"])["authorization"].removeprefix("Bearer ")
    assert "act" not in jwt.decode(sent, options={"verify_signature": False})


async def test_the_end_of_its_session_is_seen_within_two_seconds(client: Any, sign_in: Any, auth: Any) -> None:
    principal = sign_in.principal("ann")
    headers = {"Authorization": f"Bearer {sign_in.token(principal, act=ACT)}"}
    assert (await client.get("/api/v1/profile", headers=headers)).status_code == 200
    auth.end_session(principal.session_id)

    async def refused() -> bool:
        return bool((await client.get("/api/v1/profile", headers=headers)).status_code == 401)

    await eventually(refused, within_s=2)


async def test_the_access_log_names_the_operator(
    open_edge: Any, impersonated: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    edge = await open_edge(log={"level": "INFO", "format": "json"})
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        await client.get("/api/v1/profile", headers=impersonated("ann") | {"X-Request-ID": "find-me"})
    shown = ""

    def written() -> bool:
        nonlocal shown
        shown += capsys.readouterr().out
        return "find-me" in shown

    await eventually(written)
    assert json.loads(next(line for line in shown.splitlines() if "find-me" in line))["act"] == str(OPERATOR)


def table(path: str, methods: str, **flags: bool) -> bytes:
    about = "".join(f", {name}: {str(value).lower()}" for name, value in flags.items())
    return f"routes: [{{path: {path}, upstream: auth, methods: {methods}{about}}}]".encode()


@pytest.mark.parametrize(
    ("path", "flags", "refused"),
    [
        ("/auth/x", {}, True),
        ("/oauth2/x", {}, True),
        ("/auth/x", {"no_impersonation": False}, False),
        ("/api/v1/schedules", {}, False),
        ("/api/v1/schedules", {"no_impersonation": True}, True),
    ],
)
def test_a_route_refuses_by_its_flag_or_its_path(path: str, flags: dict[str, bool], refused: bool) -> None:
    assert parse(table(path, "{GET: signed_in}", **flags)).routes[0].refuses_impersonation is refused


def test_a_flag_that_has_no_effect_is_refused() -> None:
    with pytest.raises(TableInvalid, match="not public"):
        parse(table("/api/v1/exports", "{GET: public}", no_impersonation=True))
    assert parse(table("/api/v1/exports", "{GET: public, POST: signed_in}", no_impersonation=True))
