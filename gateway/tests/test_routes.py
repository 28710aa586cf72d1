"""The route table: which files are valid, and which route a path belongs to."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.routes.file import TableInvalid, load
from gateway.routes.matching import Matcher
from gateway.routes.model import Table


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return load()


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/auth/login", "/auth/login"),
        ("/auth/login/more", None),
        ("/api/v1/rooms", "/api/v1/rooms"),
        ("/api/v1/rooms/7/messages", "/api/v1/rooms"),
        ("/api/v1/jobs/7/events", "/api/v1/jobs/{job_id}/events"),
        ("/api/v1/jobs/7/events/more", "/api/v1/jobs"),
        ("/api/v1/rooms/", None),
        ("/api/v1/roomsandmore", None),
        ("/api/v1/users/me", "/api/v1/users/me"),
        ("/api/v1/users/me/posts", "/api/v1/users"),
        ("/api/v1/profile/avatar", None),
        ("/ws", "/ws"),
        ("/", None),
        ("/internal/revocations", None),
        ("/internal", None),
        ("/metrics", None),
        ("/health/detailed", None),
        ("/API/v1/rooms", None),
    ],
)
def test_a_path_belongs_to_its_longest_route(matcher: Matcher, path: str, route: str | None) -> None:
    found = matcher.find(path)
    assert (found.name if found else None) == route


def test_matching_falls_back_from_a_name_to_any_segment() -> None:
    table = {
        "routes": [
            {"path": "/a/{id}/b", "exact": True, "upstream": "chat", "methods": {"GET": "public"}},
            {"path": "/a/me/c", "exact": True, "upstream": "chat", "methods": {"GET": "public"}},
        ]
    }
    matcher = Matcher(Table.model_validate(table).routes)
    found = matcher.find("/a/me/b")
    assert found is not None
    assert found.name == "/a/{id}/b"


def published_operations() -> Iterator[Any]:
    """The contracts' operations outside of /internal: upstream, method, path, the scopes always asked for, or None."""
    for upstream in ("auth", "users", "chat", "tasks"):
        contract = Path(__file__).parents[2] / f"{upstream}-service" / "contracts" / "openapi.json"
        for path, operations in json.loads(contract.read_text())["paths"].items():
            for method, operation in operations.items():
                if not path.startswith("/internal/"):
                    ways = [frozenset(scopes) for way in operation["security"] for scopes in way.values()]
                    scopes = frozenset.intersection(*ways) if ways else None
                    yield pytest.param(upstream, method.upper(), path, scopes, id=f"{method} {path}")


@pytest.mark.parametrize(("upstream", "method", "path", "scopes"), list(published_operations()))
def test_a_published_operation_is_routed_and_requires_only_scopes_of_its_contract(
    matcher: Matcher, upstream: str, method: str, path: str, scopes: frozenset[str] | None
) -> None:
    route = matcher.find(path)
    assert route is not None
    assert route.upstream == upstream
    access = route.access[method]
    assert access.public is (scopes is None)
    assert access.all_of <= (scopes or frozenset())


def test_head_is_allowed_wherever_get_is(matcher: Matcher) -> None:
    found = matcher.find("/api/v1/profile")
    assert found is not None
    assert found.access["HEAD"] is found.access["GET"]
    assert found.allow == "GET, HEAD, OPTIONS, PATCH, PUT"


ROUTE = {"path": "/x", "upstream": "chat", "methods": {"GET": "signed_in"}}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"upstream": "payroll"}, r"payroll has no URL \(SERVICES__PAYROLL\); known: chat, users"),
        ({"upstream": "Chat"}, "upstream"),
        ({"path": "/internal/x"}, "is internal"),
        ({"path": "/metrics"}, "is internal"),
        ({"path": "x"}, "path"),
        ({"path": "/a/../b"}, "dot segment"),
        ({"methods": {"FETCH": "public"}}, "methods"),
        ({"methods": {}}, "methods"),
        ({"methods": {"GET": {"public": True, "all_of": ["chat:read"]}}}, "public"),
        ({"methods": {"GET": ["Chat Read"]}}, "all_of"),
        ({"methods": {"POST": "public"}, "streaming": True}, "require GET"),
        ({"timeout": 3}, "timeout"),
        ({"timeout_s": 0}, "timeout_s"),
    ],
)
def test_an_invalid_table_is_refused_with_the_reason(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(repr({"routes": [ROUTE | change]}).replace("True", "true"), encoding="utf-8")
    with pytest.raises(TableInvalid, match=reason):
        load(file, upstreams={"chat", "users"})


@pytest.mark.parametrize("text", ["", "routes: [", "routes: []", "- 1", "routes: 3", "\x00"])
def test_a_file_without_a_table_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(TableInvalid):
        load(file)
    with pytest.raises(TableInvalid, match="missing"):
        load(tmp_path / "missing.yaml")


def test_two_routes_for_one_path_are_refused() -> None:
    with pytest.raises(ValueError, match="same path"):
        Table.model_validate({"routes": [ROUTE | {"path": "/a/{b}"}, ROUTE | {"path": "/a/{c}"}]})
