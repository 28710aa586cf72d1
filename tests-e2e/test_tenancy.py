"""Nobody reaches into another tenant: generated from what the services themselves say that they do.

For every id that an operation takes, in path, query or body, the admin of another tenant calls the operation as its
own example shows it, with the id of an object of this tenant: 404. An operation without an example fails the test.
"""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from people import Person, Town

from shared.dev.fleet import repository
from shared.dev.launcher import Fleet

EXCEPTIONS: Final = {
    ("POST", "/api/v1/jobs", "file_id"): "is accepted, and the job fails with file_not_found",
    ("PUT", "/api/v1/tenants/{tenant_id}/members/{user_id}", "user_id"): "an account is its person's: this invites",
}
"""What is not answered 404, each with what happens instead; `test_the_exceptions` sees that it does."""

OPERATION_ON_A_FILE: Final = {"file_processing": "hash", "data_processing": "count"}
"""The kinds of jobs that take a `file_id`."""

NAMED: Final = {("POST", "/auth/sessions"): "tenant"}
"""Ids that do not look like one: a tenant's slug or id."""

Json = Any


@dataclass(frozen=True)
class Operation:
    """One operation of a contract, and the example of its body where it takes one."""

    method: str
    path: str
    contract: Mapping[str, Json] = field(repr=False, compare=False)
    body: Json = field(default=None, repr=False, compare=False)
    media_type: str = "application/json"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def parameters(self) -> list[Mapping[str, Json]]:
        found = self.contract["paths"][self.path][self.method.lower()].get("parameters", [])
        return [one for one in found if one["in"] in ("path", "query") and is_id(one["schema"])]

    def places(self) -> list[tuple[str, str]]:
        """Where the operation takes an id: (path, query or body; its name)."""
        found = [(one["in"], one["name"]) for one in self.parameters]
        if self.body is not None:
            schema = self.contract["paths"][self.path][self.method.lower()]["requestBody"]["content"][self.media_type]
            names = id_names(schema["schema"], self.contract)
            found += [("body", name) for name in sorted(names) if name in self.body]
        if (named := NAMED.get((self.method, self.path))) is not None:
            found.append(("body", named))
        return found


@dataclass(frozen=True)
class Case:
    """An operation, and which of its ids is another tenant's; the others are the caller's own."""

    operation: Operation
    place: str
    name: str

    def __str__(self) -> str:
        return f"{self.operation} {self.place}:{self.name}"

    @property
    def key(self) -> tuple[str, str, str]:
        return self.operation.method, self.operation.path, self.name


def is_id(schema: Mapping[str, Json]) -> bool:
    return schema.get("format") == "uuid" or any(is_id(one) for one in schema.get("anyOf", ()))


def resolved(schema: Mapping[str, Json], contract: Mapping[str, Json]) -> Mapping[str, Json]:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    found: Mapping[str, Json] = contract["components"]["schemas"][name] if name else schema
    return found


def variants(schema: Mapping[str, Json], contract: Mapping[str, Json]) -> Iterator[Mapping[str, Json]]:
    """The shapes that a body may have."""
    whole = resolved(schema, contract)
    choices = whole.get("oneOf") or whole.get("anyOf")
    for choice in choices or (whole,):
        yield resolved(choice, contract)


def id_names(schema: Mapping[str, Json], contract: Mapping[str, Json]) -> set[str]:
    """The names of the ids that any shape of the body may hold."""
    return {
        name
        for variant in variants(schema, contract)
        for name, property_ in variant.get("properties", {}).items()
        if is_id(property_)
    }


def examples(content: Mapping[str, Json], contract: Mapping[str, Json]) -> list[Json]:
    """An example for each shape of the body; none where the contract has none."""
    if "example" in content:
        return [content["example"]]
    return [one for shape in variants(content["schema"], contract) for one in shape_examples(shape)]


def shape_examples(shape: Mapping[str, Json]) -> list[Json]:
    return [shape["example"]] if "example" in shape else list(shape.get("examples", ()))


def operations() -> Iterator[Operation]:
    """Every operation of every service, once for each shape of its body."""
    for file in sorted(repository().glob("*/contracts/openapi.json")):
        contract = json.loads(file.read_text(encoding="utf-8"))
        for path, methods in contract["paths"].items():
            for method, described in methods.items():
                content = described.get("requestBody", {}).get("content", {})
                media_type = next(iter(content), "")
                bodies = examples(content[media_type], contract) if content else []
                for body in bodies or [None]:
                    yield Operation(method.upper(), path, contract, body, media_type)


OPERATIONS: Final = list(operations())
CASES: Final = [Case(one, *place) for one in OPERATIONS for place in one.places()]


def test_every_operation_has_an_example() -> None:
    """A body without one, or an id in the path or the query, could not be called as the contract means it."""
    missing = []
    for one in OPERATIONS:
        described = one.contract["paths"][one.path][one.method.lower()]
        if "requestBody" in described and one.body is None:
            missing.append(f"{one}: its body")
        missing += [f"{one}: {id_['name']}" for id_ in one.parameters if not has_example(id_)]
    assert missing == []


def has_example(parameter: Mapping[str, Json]) -> bool:
    return bool(parameter.get("example") or shape_examples(parameter["schema"]))


def test_every_exception_is_an_operations() -> None:
    described = {(one.method, one.path) for one in OPERATIONS}
    assert {(method, path) for method, path, _ in EXCEPTIONS} <= described


@pytest.fixture(scope="module")
async def tenants(fleet: Fleet) -> tuple["Objects", "Objects"]:
    """Two tenants, each with an admin and one of everything."""
    async with Town.of(fleet) as town:
        return await Objects.made(town), await Objects.made(town)


@dataclass
class Objects:
    """One of everything in a tenant, by the name that operations have for its id."""

    admin: Person
    ids: dict[str, str]

    @classmethod
    async def made(cls, town: Town) -> "Objects":
        admin = await town.founder()
        member = await town.member(admin)
        room = await admin.room()
        file = await admin.upload("own.csv", b"a\n1\n")
        job = await admin.start_job("data_processing", operation="count", rows=[{"n": 1}])
        await admin.job_ended(job)
        await admin.call("PUT", f"/api/v1/rooms/{room}/members/{member.id}", 201)
        told = await admin.notified(job)
        ids = {
            "tenant_id": admin.tenant_id, "user_id": member.id, "owner_id": member.id, "room_id": room, "job_id": job,
            "file_id": file["id"], "notification_id": told["id"], "tenant": admin.tenant,
            "session_id": admin.tokens["session_id"],
        }  # fmt: skip
        return cls(admin, ids)


@pytest.mark.parametrize("case", [one for one in CASES if one.key not in EXCEPTIONS], ids=str)
async def test_another_tenants_object_is_not_found(tenants: tuple[Objects, Objects], town: Town, case: Case) -> None:
    theirs, mine = tenants
    ids = mine.ids | {case.name: theirs.ids[case.name]}
    mine.admin.town = town
    reply = await called(mine.admin, case.operation, ids)
    assert reply.status_code == 404, f"{case}: {reply.status_code} {reply.text[:300]}"
    assert reply.headers["content-type"] == "application/problem+json"


READS: Final = [one for one in OPERATIONS if one.method == "GET" and one.places() and one.path.startswith("/api/")]


@pytest.mark.parametrize("operation", READS, ids=str)
async def test_their_own_admin_finds_it(tenants: tuple[Objects, Objects], town: Town, operation: Operation) -> None:
    """Else the 404 of the other test would prove nothing."""
    theirs, _ = tenants
    theirs.admin.town = town
    assert (await called(theirs.admin, operation, theirs.ids)).status_code == 200


async def called(person: Person, operation: Operation, ids: Mapping[str, str]) -> Any:
    """The operation as its example shows it, with these ids in place of the example's."""
    path, query = operation.path, {}
    for one in operation.parameters:
        if one["in"] == "path":
            path = path.replace(f"{{{one['name']}}}", ids[one["name"]])
        else:
            query[one["name"]] = ids[one["name"]]
    options: dict[str, Any] = {"params": query} if query else {}
    if operation.body is not None:
        options |= body_of(operation, ids)
    return await person.call(operation.method, path, **options)


def body_of(operation: Operation, ids: Mapping[str, str]) -> dict[str, Any]:
    body = deepcopy(operation.body)
    for place, name in operation.places():
        if place == "body":
            body[name] = ids[name]
    if operation.media_type != "multipart/form-data":
        return {"json": body}
    file = body.pop("file")
    return {"files": {"file": ("example.csv", file, "text/csv")}, "data": body}


async def test_the_exceptions(tenants: tuple[Objects, Objects], town: Town) -> None:
    theirs, mine = tenants
    mine.admin.town = town
    kinds = (await mine.admin.get("/api/v1/job-kinds")).json()["items"]
    taking = {kind["name"] for kind in kinds if "file_id" in kind["input"]["properties"]}
    assert taking == OPERATION_ON_A_FILE.keys()
    for kind in taking:
        given = {"operation": OPERATION_ON_A_FILE[kind], "file_id": theirs.ids["file_id"]}
        job = await mine.admin.start_job(kind, **given)
        ended = await mine.admin.job_ended(job)
        assert (ended["status"], ended["error"]["code"]) == ("failed", "file_not_found")

    member = theirs.ids["user_id"]
    path = f"/api/v1/tenants/{mine.admin.tenant_id}/members/{member}"
    shown = (await mine.admin.call("PUT", path, 201, json={"roles": ["user"]})).json()
    assert shown["status"] == "invited"
    theirs_alone = f"/api/v1/tenants/{theirs.admin.tenant_id}/members/{member}"
    await mine.admin.call("PUT", theirs_alone, 404, json={"roles": ["user"]})
