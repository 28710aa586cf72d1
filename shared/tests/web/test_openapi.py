"""The OpenAPI document, as the gateway reads it inside the fleet."""

from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Depends, FastAPI
from pydantic import BaseModel, Field

from shared.identity.access import require_any_scope, require_scopes
from shared.problems import Conflict, NotFound, raises
from shared.testing.documented import undocumented
from shared.testing.people import People
from shared.web import openapi
from shared.web.json_input import Input
from shared.web.router import Router

PATH = "/internal/openapi.json"


async def test_only_a_service_with_the_grant_reads_the_document(client: httpx2.AsyncClient, as_user: People) -> None:
    reply = await client.get(PATH, headers=as_user.service("gateway"))
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    document = reply.json()
    assert document == (await client.get("/openapi.json")).json()
    assert {"/pages", PATH} <= document["paths"].keys()
    for headers, status in (({}, 401), (as_user("ann", roles=["system"]), 403), (as_user.service("chat"), 403)):
        assert (await client.get(PATH, headers=headers)).status_code == status


class BerthTaken(Conflict):
    """Another boat is there."""

    status, title = 409, "The berth is taken"


class Boat(Input):
    name: str = Field(examples=["Dora"])
    length_m: float = Field(gt=0)
    berth: str | None = None


class Harbour(BaseModel):
    boats: list[Boat]
    motto: str | None


router = Router()


@raises(BerthTaken)
async def berth() -> str:
    return "7"


@router.put("/boats/{number}", dependencies=[Depends(require_any_scope("boats:write", "harbour:write"))])
@raises(NotFound)
async def moor(number: int, body: Boat, where: Annotated[str, Depends(berth)]) -> Boat:
    """Moor a boat."""
    return body


@router.get("/harbour", dependencies=[Depends(require_scopes("boats:read"))])
async def read_harbour() -> Harbour:
    """The harbour, whose motto has no example."""
    raise NotImplementedError


@router.post("/bell", status_code=202)
async def ring() -> None:
    pass


@pytest.fixture
def document() -> dict[str, Any]:
    app = FastAPI()
    openapi.describe(app)
    app.router.routes.extend(router.routes)
    return app.openapi()


def examples_of(document: dict[str, Any], reference: dict[str, str]) -> dict[str, Any]:
    response = document["components"]["responses"][reference["$ref"].rpartition("/")[2]]
    found: dict[str, Any] = response["content"]["application/problem+json"]["examples"]
    return found


def test_an_operation_names_what_it_and_its_dependencies_raise(document: dict[str, Any]) -> None:
    responses = document["paths"]["/boats/{number}"]["put"]["responses"]
    codes = {status: [*examples_of(document, responses[status])] for status in responses.keys() - {"200"}}
    assert codes == {
        "400": ["malformed_request"],
        "401": ["invalid_token", "unauthenticated"],
        "403": ["insufficient_scope"],
        "404": ["not_found"],
        "408": ["request_timeout"],
        "409": ["berth_taken"],
        "413": ["body_too_large"],
        "415": ["unsupported_media_type"],
        "422": ["invalid_input"],
        "4XX": ["too_many_requests"],
        "5XX": ["database_unavailable", "internal_error", "service_unavailable"],
    }
    example = examples_of(document, responses["409"])["berth_taken"]["value"]
    assert (example["code"], example["status"], example["title"]) == ("berth_taken", 409, "The berth is taken")


def test_security_is_always_named(document: dict[str, Any]) -> None:
    paths = document["paths"]
    assert paths["/boats/{number}"]["put"]["security"] == [{"bearer": ["boats:write"]}, {"bearer": ["harbour:write"]}]
    assert paths["/harbour"]["get"]["security"] == [{"bearer": ["boats:read"]}]
    assert paths["/bell"]["post"]["security"] == []


def test_an_example_is_composed_of_the_fields(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["Boat"]["examples"] == [{"name": "Dora", "length_m": 1}]
    assert document["paths"]["/bell"]["post"]["responses"]["202"]["content"]["application/json"]["example"] is None


def test_what_is_missing_is_found(document: dict[str, Any]) -> None:
    assert undocumented(document) == [
        "GET /harbour: 200 application/json: no example",
        "POST /bell: no summary or no description",
    ]
    schemas = document["components"]["schemas"]
    schemas["Harbour"]["examples"] = [{"boats": [{"name": "Dora", "length_m": 0}], "motto": None}]
    del document["paths"]["/harbour"]["get"]["responses"]["401"]
    del document["paths"]["/bell"]["post"]["security"]
    found = undocumented(document)
    assert found[0].startswith("GET /harbour: 200 application/json: {'boats'")
    assert found[1:] == [
        "GET /harbour: no response 401",
        "POST /bell: no summary or no description",
        "POST /bell: neither secured nor public",
    ]
