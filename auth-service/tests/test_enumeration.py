"""Known and unknown accounts are told apart neither by the answer nor by the work: hashes, statements, mails."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event
from structlog.contextvars import get_contextvars

from auth_service.accounts.passwords import Passwords
from shared.data.database import Database
from shared.resources import Resources

from .door import Door
from .mailbox import Mailbox, token_in

Request = Callable[[str], Awaitable[Any]]


@pytest.fixture
def settings_values(settings_values: dict[str, Any]) -> dict[str, Any]:
    return settings_values | {"registration": {"verify_email": True}, "mails": {"per_address_and_hour": 100}}


@contextmanager
def work_done(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Counts the statements of requests by their first words, and the hashes; background work is none of them."""
    done: Counter[str] = Counter()
    engine = resources.get(Database).engine().sync_engine
    hashing = Passwords._run

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "request_id" in get_contextvars():
            done[" ".join(statement.split()[:3])] += 1

    async def counted(passwords: Passwords, work: Callable[[], Any]) -> Any:
        done["hash"] += 1
        return await hashing(passwords, work)

    event.listen(engine, "before_cursor_execute", note)
    monkeypatch.setattr(Passwords, "_run", counted)
    try:
        yield done
    finally:
        event.remove(engine, "before_cursor_execute", note)
        monkeypatch.undo()


@pytest.mark.parametrize("deactivated", [False, True])
@pytest.mark.parametrize("what", ["sign_in", "reset", "verification", "registration", "magic_link", "reactivation"])
async def test_the_work_is_the_same(
    door: Door, mailbox: Mailbox, resources: Resources, monkeypatch: pytest.MonkeyPatch, what: str, deactivated: bool
) -> None:
    await door.register("ann", slug="acme")
    token = token_in(await mailbox.received(1))
    assert (await door.client.post("/auth/verify-email", json={"token": token})).status_code == 204
    if deactivated:
        tokens = (await door.login("ann")).json()
        assert (await door.client.post("/auth/deactivate", headers=door.bearer(tokens))).status_code == 204
    requests: dict[str, tuple[Request, str, str]] = {
        "sign_in": (lambda name: door.login(name, "Wrong-word-7"), "ann@example.com", "eve@example.com"),
        "reset": (
            lambda email: door.client.post("/auth/password/reset", json={"email": email}),
            "ann@example.com",
            "eve@example.com",
        ),
        "magic_link": (
            lambda email: door.client.post("/auth/magic-link", json={"email": email}),
            "ann@example.com",
            "eve@example.com",
        ),
        "reactivation": (
            lambda email: door.client.post("/auth/reactivate", json={"email": email}),
            "ann@example.com",
            "eve@example.com",
        ),
        "verification": (
            lambda name: door.client.post(
                "/auth/verify-email/request", json={"username": name, "password": "Wrong-word-7"}
            ),
            "ann",
            "eve",
        ),
        "registration": (
            lambda email: door.register(f"person{len(email)}", slug=f"tenant-{len(email)}", email=email),
            "ann@example.com",
            "bobby@example.com",
        ),
    }
    request, known, unknown = requests[what]
    await request("warm-up@example.com")
    replies, work = [], []
    for name in (known, unknown):
        with work_done(resources, monkeypatch) as done:
            replies.append(await request(name))
        work.append(done)
    assert work[0] == work[1]
    assert replies[0].status_code == replies[1].status_code
    assert set(replies[0].json() or ()) == set(replies[1].json() or ())
    mails = {"sign_in": 0, "verification": 0}.get(what, 1)
    assert work[0]["INSERT INTO mails"] == mails
