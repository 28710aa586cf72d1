"""The merged OpenAPI document: what the route table lets through, kept while services come and go."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
import schemathesis
from prometheus_client import REGISTRY

from gateway.routes import file
from shared.testing.documented import undocumented
from shared.testing.fakes import OPENAPI
from shared.testing.waiting import eventually

OWN = {("GET", "/"), ("GET", "/problems/{code}"), ("GET", "/.well-known/oauth-protected-resource")}
FAST = {"portal": {"refresh_s": 0.05}}


async def document(edge: Any) -> dict[str, Any]:
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        reply = await client.get("/openapi.json")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    merged: dict[str, Any] = reply.json()
    return merged


async def whole(edge: Any) -> dict[str, Any]:
    """The document once no service is missing in it."""

    async def complete() -> bool:
        return "x-missing-services" not in (await document(edge))["info"]

    await eventually(complete, saying="every document is merged")
    return await document(edge)


def operations(merged: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in merged["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


async def test_the_document_is_valid(edge: Any) -> None:
    merged = await whole(edge)
    schemathesis.openapi.from_dict(merged).validate()
    ids = [operation["operationId"] for _, _, operation in operations(merged)]
    assert len(ids) == len(set(ids))
    text = orjson.dumps(merged).decode()
    for section, components in merged["components"].items():
        unused = [name for name in components if f"#/components/{section}/{name}" not in text]
        assert section == "securitySchemes" or not unused
    used = {scheme for _, _, operation in operations(merged) for each in operation["security"] for scheme in each}
    assert used == merged["components"]["securitySchemes"].keys()


async def test_every_operation_is_documented(edge: Any) -> None:
    assert undocumented(await whole(edge)) == []


async def test_it_has_what_the_route_table_lets_through(
    edge: Any, auth: Any, users: Any, chat: Any, tasks: Any
) -> None:
    matcher = file.load()
    merged = await whole(edge)
    found = {(method, path) for method, path, _ in operations(merged)} - OWN
    assert ("GET", "/internal/openapi.json") not in found
    expected = {
        (method.upper(), path)
        for fake in (auth, users, chat, tasks)
        for path, item in fake.document["paths"].items()
        for method in item
        if (match := matcher.find(path)) is not None and method.upper() in match.access
    }
    assert found == expected
    assert merged["paths"]["/problems/{code}"]["get"]["security"] == []


async def test_operations_require_what_gateway_and_service_require(edge: Any) -> None:
    paths = (await whole(edge))["paths"]

    def required(method: str, path: str) -> list[dict[str, list[str]]]:
        found: list[dict[str, list[str]]] = paths[path][method]["security"]
        return found

    assert required("post", "/auth/login") == []
    assert required("get", "/auth/me") == [{"sign_in": []}, {"bearer": []}]
    assert required("get", "/api/v1/profile") == [
        {scheme: ["profile:read"]} for scheme in ("sign_in", "bearer", "api_key")
    ]
    assert required("delete", "/api/v1/files/{file_id}") == [
        {scheme: [scope]} for scope in ("files:delete", "files:write") for scheme in ("sign_in", "bearer", "api_key")
    ]
    assert required("get", "/auth/api-keys") == [{scheme: ["api-keys:read"]} for scheme in ("sign_in", "bearer")]
    # the table asks for either of two scopes, and the service for one of these
    assert required("post", "/api/v1/notifications/{notification_id}/read")[0] == {"sign_in": ["notifications:write"]}
    assert required("get", "/api/v1/jobs/{job_id}/events")[-1] == {"ticket": []}


async def test_an_api_key_is_a_header(edge: Any) -> None:
    scheme = (await whole(edge))["components"]["securitySchemes"]["api_key"]
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "header", "X-API-Key")


async def test_the_password_form_signs_in_at_the_gateway(edge: Any) -> None:
    flow = (await whole(edge))["components"]["securitySchemes"]["sign_in"]["flows"]["password"]
    assert flow["tokenUrl"] == "http://localhost:8000/auth/login"
    assert flow["scopes"]["profile:read"]


async def test_names_of_two_services_do_not_clash(edge: Any, users: Any, chat: Any) -> None:
    merged = await whole(edge)
    schemas = merged["components"]["schemas"]
    assert schemas["users.MemberOut"] == users.document["components"]["schemas"]["MemberOut"]
    assert schemas["chat.MemberOut"] != schemas["users.MemberOut"]
    listed = schemas["chat.CursorPage_MemberOut_"]["properties"]["items"]["items"]
    assert listed == {"$ref": "#/components/schemas/chat.MemberOut"}
    assert [name for name in schemas if name.endswith("Problem")] == ["Problem"]
    assert {"users_list_members", "chat_list_members"} <= {
        operation["operationId"] for _, _, operation in operations(merged)
    }


async def test_a_client_that_has_the_document_gets_304(edge: Any) -> None:
    await whole(edge)
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        etag = (await client.get("/openapi.json")).headers["etag"]
        again = await client.get("/openapi.json", headers={"If-None-Match": etag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        head = await client.head("/openapi.json")
        assert (head.status_code, head.headers["etag"], head.content) == (200, etag, b"")


def loop_failures() -> float:
    return REGISTRY.get_sample_value("flotilla_loop_failures_total", {"loop": "openapi"}) or 0


async def test_a_change_is_published_and_an_unreachable_service_keeps_its_part(open_edge: Any, chat: Any) -> None:
    edge = await open_edge(**FAST)
    before = await whole(edge)
    failures, chat.down = loop_failures(), True
    await eventually(lambda: loop_failures() > failures)
    assert await document(edge) == before

    changed = copy.deepcopy(chat.document)
    changed["paths"]["/api/v1/rooms"]["get"]["summary"] = "Rooms"
    chat.document = changed

    async def summary() -> str:
        rooms: dict[str, Any] = (await document(edge))["paths"]["/api/v1/rooms"]
        return str(rooms["get"].get("summary"))

    async def shown() -> bool:
        return await summary() == "Rooms"

    chat.down = False

    await eventually(shown)


@pytest.mark.parametrize("broken", ["down", "another version", "a reference to nowhere"])
async def test_a_service_without_a_document_is_named_and_read_again(open_edge: Any, chat: Any, broken: str) -> None:
    good = chat.document
    chat.document = copy.deepcopy(good)
    if broken == "down":
        chat.failing.add(OPENAPI)
    elif broken == "another version":
        chat.document["openapi"] = "2.0"
    else:
        del chat.document["components"]["schemas"]["RoomOut"]
    edge = await open_edge(**FAST)

    async def only_chat_is_missing() -> bool:
        return (await document(edge))["info"].get("x-missing-services") == ["chat"]

    await eventually(only_chat_is_missing)
    partial = await document(edge)
    assert "/api/v1/jobs" in partial["paths"]
    assert "/api/v1/rooms" not in partial["paths"]
    assert "no document from chat" in partial["info"]["description"]
    schemathesis.openapi.from_dict(partial).validate()
    chat.document = good
    chat.failing.clear()
    assert "/api/v1/rooms" in (await whole(edge))["paths"]


async def test_replicas_without_a_load_balancer_are_read_too(open_edge: Any, services: dict[str, str]) -> None:
    url = services.pop("chat")
    assert "/api/v1/rooms" in (await whole(await open_edge(upstreams={"chat": [url]})))["paths"]


async def test_a_reloaded_route_table_changes_the_document(open_edge: Any, tmp_path: Path) -> None:
    table = tmp_path / "routes.yaml"
    route = {"path": "/api/v1/rooms", "exact": True, "upstream": "chat", "methods": {"GET": "signed_in"}}
    table.write_bytes(orjson.dumps({"routes": [route]}))
    edge = await open_edge(routes_file=table)
    assert (await whole(edge))["paths"].keys() == {"/api/v1/rooms", *(path for _, path in OWN)}
    table.write_bytes(orjson.dumps({"routes": [route | {"methods": {"POST": "signed_in"}}]}))
    edge.gateway.reload_routes()

    async def replaced() -> bool:
        return (await document(edge))["paths"]["/api/v1/rooms"].keys() == {"post"}

    await eventually(replaced)
