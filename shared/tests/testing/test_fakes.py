"""A fake holds both sides to the contract of the service that it stands for."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel
from starlette.responses import JSONResponse

from shared.clients import ServiceClient, UnexpectedAnswer
from shared.ids import new_id
from shared.problems import ServiceUnavailable
from shared.testing import People, running
from shared.testing.fakes import ContractViolated, FakeAuth, FakeUsers
from shared.testing.fakes.fake import Answers


class Username(BaseModel):
    username: str


class FileName(BaseModel):
    name: str


class Person(BaseModel):
    username: str
    tenant: None = None


class Misspelt(BaseModel):
    username: str
    tenant: None = None
    tier: str = "free"


@pytest.fixture
async def users(as_user: People) -> AsyncIterator[FakeUsers]:
    """Served without the check at the end: each test makes its own."""
    fake = FakeUsers(as_user)
    fake.add_tenant("acme", as_user.tenant_id("acme"))
    fake.add_member("acme", as_user.id("ann"), roles=["user"], username="ann")
    async with running(fake, lifespan="off") as fake.url:
        yield fake


@pytest.fixture
async def client(users: FakeUsers, as_user: People) -> AsyncIterator[ServiceClient]:
    opened = ServiceClient(users.url, "users", as_user.signer("auth"))
    yield opened
    await opened.close()


@pytest.fixture
def ann(as_user: People) -> str:
    return f"/internal/memberships/{as_user.tenant_id('acme')}/{as_user.id('ann')}"


async def test_what_the_contract_allows_passes(client: ServiceClient, users: FakeUsers, ann: str) -> None:
    assert await client.read(ann, Username) == Username(username="ann")
    assert await client.read(f"/internal/memberships/{new_id()}/{new_id()}", Username) is None
    await client.send("PUT", f"/internal/registrations/{new_id()}", Person(username="bob"))
    assert [call.operation.split(" ")[0] for call in users.calls] == ["GET", "GET", "PUT"]
    users.check()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda one: one.pop("username"), "username"),
        (lambda one: one.update(nickname="annie"), "nickname"),
        (lambda one: one.update(status="gone"), "/status"),
        (lambda one: one.update(id="7"), "/id"),
        (lambda one: one["tenant"].update(plan="free"), "plan"),
        (lambda one: one.update(created_at="today"), "/created_at"),
    ],
)
async def test_an_answer_that_the_service_would_not_give_fails_the_test(
    client: ServiceClient, users: FakeUsers, ann: str, change: Callable[[Any], Any], named: str
) -> None:
    change(next(iter(users.memberships.values())))
    with pytest.raises(ServiceUnavailable):
        await client.read(ann, Username)
    with pytest.raises(ContractViolated, match="answer 200") as caught:
        users.check()
    assert "GET /internal/memberships/{tenant_id}/{user_id}" in str(caught.value)
    assert named in str(caught.value)
    users.check()  # each violation is reported once


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/internal/nothing", None),
        ("PATCH", "/internal/registrations/{id}", None),
        ("GET", "/internal/memberships/{id}/ann", None),
        ("GET", "/internal/memberships", None),
        ("GET", "/internal/memberships?user_id={id}&page=2", None),
        ("GET", "/internal/memberships?user_id=ann", None),
        ("PUT", "/internal/registrations/{id}", None),
        ("PUT", "/internal/registrations/{id}", Misspelt(username="bob")),
        ("PUT", "/internal/registrations/{id}", Person(username="")),
        ("DELETE", "/internal/registrations/{id}", Person(username="bob")),
    ],
)
async def test_a_request_that_the_service_would_not_take_fails_the_test(
    client: ServiceClient, users: FakeUsers, method: str, path: str, body: BaseModel | None
) -> None:
    with pytest.raises(ServiceUnavailable):
        await client.send(method, path.format(id=new_id()), body)
    with pytest.raises(ContractViolated):
        users.check()


async def test_a_violation_is_raised_at_the_end_at_the_latest(as_user: People) -> None:
    with pytest.raises(ContractViolated):
        async with FakeUsers(as_user).serving() as users, httpx2.AsyncClient(base_url=users.url) as client:
            assert (await client.get("/internal/nothing")).status_code == 500


async def test_a_caller_needs_the_token_the_grant_and_the_scopes(
    as_user: People, users: FakeUsers, client: ServiceClient, ann: str
) -> None:
    async with httpx2.AsyncClient(base_url=users.url) as stranger:
        assert (await stranger.get(ann)).status_code == 401
        assert (await stranger.get(ann, headers={"Authorization": "Bearer x.y.z"})).status_code == 401
    chat = ServiceClient(users.url, "users", as_user.signer("chat"))
    assert await chat.read(ann, Username) == Username(username="ann")
    assert await _refused(chat.send("DELETE", f"/internal/registrations/{new_id()}", None)) == 403
    await chat.close()
    tasks = ServiceClient(users.url, "users", as_user.signer("tasks"))
    file = f"/api/v1/files/{users.add_file(as_user.id('ann'), 'a.csv', b'a')}"
    for scopes, status in (([], 403), (["files:read"], None)):
        assert await _refused(tasks.read(file, FileName, principal=as_user.principal("ann", scopes=scopes))) == status
    assert await _refused(tasks.read(file, FileName)) == 401
    await tasks.close()
    users.check()


async def _refused(call: Any) -> int | None:
    try:
        await call
    except UnexpectedAnswer as answer:
        return answer.received_status
    return None


async def test_outages_are_as_a_caller_meets_them(client: ServiceClient, users: FakeUsers, ann: str) -> None:
    registration = f"/internal/registrations/{(bob := new_id())}"
    users.down = True
    with pytest.raises(ServiceUnavailable):
        await client.send("PUT", registration, Person(username="bob"))
    assert users.people == {}
    users.down, users.loses_answers = False, True
    with pytest.raises(ServiceUnavailable):
        await client.send("PUT", registration, Person(username="bob"))
    assert users.people == {str(bob): "bob"}
    users.loses_answers = False
    users.failing.add("GET /internal/memberships/{tenant_id}/{user_id}")
    with pytest.raises(ServiceUnavailable):
        await client.read(ann, Username)
    users.check()


def test_a_fake_has_no_operation_that_its_service_lacks(as_user: People) -> None:
    class Imagined(FakeAuth):
        def answers(self) -> Mapping[str, Answers]:
            return {"GET /internal/horoscope": lambda call: JSONResponse({})}

    with pytest.raises(ContractViolated, match="horoscope"):
        Imagined(as_user)
