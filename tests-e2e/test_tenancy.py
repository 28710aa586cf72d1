"""Nobody reaches into another tenant: generated from what the services themselves say that they do.

The admin of another tenant calls each operation as its own example shows it, with every id in path, query and body that
of an object of this tenant: 404. An operation without an example fails the test. A second round mixes the tenants: one
id is this tenant's, the others are the caller's own.
"""

from dataclasses import dataclass
from typing import Final

import pytest
from operations import Ids, Operation, operations, without_example
from people import Person, Town

from shared.dev.launcher.running_fleet import Fleet
from shared.testing import eventually

EXCEPTION: Final = ("POST", "/api/v1/jobs")
"""Takes a `file_id` in the input of some kinds, and looks at it when the job runs, which fails."""

KINDS_ON_A_FILE: Final = {"file_processing": "hash", "data_processing": "count"}
"""Those kinds, and an operation of each."""

NO_TENANTS_OBJECT: Final = ("PUT", "/api/v1/tenants/{tenant_id}/members/{user_id}", "user_id")
"""An account is its person's: named for one's own tenant, it is invited."""

NO_OBJECT: Final = "01890a5d-ac96-774b-bcce-b302099a8057"
"""auth-service's own tests show that another person's consents and identities are not found."""

FILTERS: Final = {("GET", "/auth/audit"), ("GET", "/api/v1/activity"), ("GET", "/api/v1/posts")}
"""Their ids select from what the caller may see: another tenant's select nothing."""

OF_OPERATORS: Final = {("POST", "/auth/impersonate")}
"""No tenant's admin may call them, whatever the id: test_impersonation.py."""

OPERATIONS: Final = list(operations())
TAKING_IDS: Final = [one for one in OPERATIONS if one.ids and (one.method, one.path) not in FILTERS | OF_OPERATORS]
MIXED: Final = [
    pytest.param(one, name, id=f"{one} {name}")
    for one in TAKING_IDS
    for name in one.ids
    if len(one.ids) > 1 and (one.method, one.path, name) != NO_TENANTS_OBJECT
]
READS: Final = [one for one in OPERATIONS if one.method == "GET" and one.path.startswith("/api/")]


@dataclass
class Objects:
    """One of everything in a tenant, by the name that operations have for its id."""

    admin: Person
    ids: Ids

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
        post = {"title": "A boat", "content": "She sails.", "status": "draft"}
        report = {"subject_type": "user", "subject_id": member.id, "reason": "It advertises."}
        invited = {"email": f"{member.username}@invited.example.com", "roles": ["user"]}
        invitations = f"/api/v1/tenants/{admin.tenant_id}/invitations"
        ids = {
            "tenant_id": admin.tenant_id, "user_id": member.id, "owner_id": member.id, "room_id": room, "job_id": job,
            "file_id": file["id"], "notification_id": told["id"],
            "post_id": (await admin.post("/api/v1/posts", 201, json=post)).json()["id"],
            "report_id": (await admin.post("/api/v1/moderation/reports", 201, json=report)).json()["id"],
            "subject_id": file["id"], "author_id": admin.id, "tenant": admin.tenant,
            "invitation_id": (await admin.post(invitations, 201, json=invited)).json()["id"],
            "session_id": admin.tokens["session_id"], "join": admin.tenant_id, "account_id": admin.id,
            **await cls._of_account(admin),
        }  # fmt: skip
        return cls(admin, ids)

    @staticmethod
    async def _of_account(admin: Person) -> Ids:
        """What auth-service keeps: a client, a key, a second factor. Consents and identities need a browser."""
        client = {"client_name": "Planner", "redirect_uris": ["https://planner.example/"]}
        key = {"name": "Importer", "scopes": ["jobs:read"]}
        return {
            "client_id": (await admin.post("/oauth2/clients", 201, json=client)).json()["client_id"],
            "key_id": (await admin.post("/auth/api-keys", 201, json=key)).json()["id"],
            "factor_id": (await admin.post("/auth/mfa/totp", 201, json={"name": "Phone"})).json()["id"],
            "consent_id": NO_OBJECT, "identity_id": NO_OBJECT, "provider_id": NO_OBJECT,
            "mail_id": NO_OBJECT,
        }  # fmt: skip


@pytest.fixture(scope="module")
async def tenants(fleet: Fleet) -> tuple[Objects, Objects]:
    """Two tenants, each with an admin and one of everything."""
    async with Town.of(fleet) as town:
        return await Objects.made(town), await Objects.made(town)


@pytest.fixture
def theirs(tenants: tuple[Objects, Objects], town: Town) -> Objects:
    tenants[0].admin.town = town
    return tenants[0]


@pytest.fixture
def mine(tenants: tuple[Objects, Objects], town: Town) -> Objects:
    tenants[1].admin.town = town
    return tenants[1]


def test_every_operation_has_an_example() -> None:
    assert without_example(OPERATIONS) == []


@pytest.mark.parametrize("operation", TAKING_IDS, ids=str)
async def test_another_tenants_object_is_not_found(theirs: Objects, mine: Objects, operation: Operation) -> None:
    await is_not_found(mine.admin, operation, theirs.ids)


@pytest.mark.parametrize(("operation", "name"), MIXED)
async def test_one_id_of_another_tenant_is_enough(
    theirs: Objects, mine: Objects, operation: Operation, name: str
) -> None:
    await is_not_found(mine.admin, operation, {**mine.ids, name: theirs.ids[name]})


async def test_another_tenants_ids_select_no_events(theirs: Objects, mine: Objects) -> None:
    for name in ("account_id", "session_id"):
        found = await mine.admin.get("/auth/audit", params={name: theirs.ids[name]})
        assert found.json()["items"] == []
        own = await theirs.admin.get("/auth/audit", params={name: theirs.ids[name]})
        assert own.json()["items"] != []


async def test_another_tenants_people_select_no_activity(theirs: Objects, mine: Objects) -> None:
    about = {"user_id": theirs.ids["user_id"]}

    async def logged() -> bool:
        return bool((await theirs.admin.get("/api/v1/activity", params=about)).json()["items"])

    await eventually(logged, saying="the log has the member that was added")
    assert (await mine.admin.get("/api/v1/activity", params=about)).json()["items"] == []


async def test_another_tenants_people_select_no_posts(theirs: Objects, mine: Objects) -> None:
    by = {"author_id": theirs.admin.id}
    assert (await theirs.admin.get("/api/v1/posts", params=by)).json()["items"] != []
    assert (await mine.admin.get("/api/v1/posts", params=by)).json()["items"] == []


async def is_not_found(person: Person, operation: Operation, ids: Ids) -> None:
    reply = await operation.call(person, ids)
    assert reply.status_code == 404, f"{operation}: {reply.status_code} {reply.text[:300]}"
    assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("operation", READS, ids=str)
async def test_their_own_admin_finds_it(theirs: Objects, operation: Operation) -> None:
    """Else the 404 of the other tests would prove nothing."""
    assert (await operation.call(theirs.admin, theirs.ids)).status_code == 200


async def test_the_exception(theirs: Objects, mine: Objects) -> None:
    assert EXCEPTION in {(one.method, one.path) for one in OPERATIONS}
    kinds = (await mine.admin.get("/api/v1/job-kinds")).json()["items"]
    assert {kind["name"] for kind in kinds if "file_id" in kind["input"]["properties"]} == KINDS_ON_A_FILE.keys()
    for kind, operation in KINDS_ON_A_FILE.items():
        job = await mine.admin.start_job(kind, operation=operation, file_id=theirs.ids["file_id"])
        ended = await mine.admin.job_ended(job)
        assert (ended["status"], ended["error"]["code"]) == ("failed", "file_not_found")


async def test_whoever_is_invited_shows_the_username_alone(town: Town) -> None:
    theirs, mine = await town.founder(), await town.founder()
    method, path, _ = NO_TENANTS_OBJECT
    member = path.format(tenant_id=mine.tenant_id, user_id=theirs.id)
    shown = (await mine.call(method, member, 201, json={"roles": ["user"]})).json()
    assert shown.keys() == {"user_id", "username", "roles", "status", "created_at", "updated_at"}
    assert shown["status"] == "invited"
    assert theirs.id not in {one["id"] for one in await mine.all_of("/api/v1/users")}
