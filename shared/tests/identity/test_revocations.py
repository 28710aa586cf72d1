"""Revocations: what ends a token, feeds that overlap, fail and grow old, and a set that stays small."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.identity.principal import Principal
from shared.identity.revocation_entries import (
    KEPT_S,
    OVERLAP_S,
    Entry,
    FeedPage,
    MembershipState,
    SessionEnded,
    TenantState,
    TokenEnded,
    UserEpoch,
    feed_page,
    read_from,
)
from shared.identity.revocations import Ended, Revocations, RevocationSet
from shared.identity.tokens import LEEWAY_S
from shared.ids import new_id
from shared.problems import InvalidInput, InvalidToken, ServiceUnavailable

from .fleet import Clock, person, until

SOON = int(time.time()) + 600


class Feed:
    """A publisher: rows that become visible when a test commits them, read as its SQL would read them."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)
        self.rows: dict[object, tuple[datetime, Entry]] = {}
        self.away = False
        self.asked: list[str | None] = []
        self.seen: list[str | None] = []
        self.mark: str | None = None
        """None: as a release before marks."""

    def commit(self, entry: Entry, *, began_s_ago: float = 0.0) -> None:
        """Make a row visible now whose `changed_at` is that of its transaction's begin."""
        self.rows[entry.key] = (self.now - timedelta(seconds=began_s_ago), entry)

    async def fetch(self, after: str | None, seen: str | None) -> FeedPage:
        self.asked.append(after)
        self.seen.append(seen)
        if self.away:
            raise ServiceUnavailable
        since = read_from(after)
        entries = [entry for changed_at, entry in self.rows.values() if since is None or changed_at > since]
        page = feed_page(entries, self.now)
        return FeedPage.model_validate_json((page.marked(self.mark) if self.mark else page).model_dump_json())

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
def revocations(feed: Feed, clock: Clock) -> Revocations:
    return Revocations({"auth": feed.fetch}, clock=clock, monotonic=clock)


def membership(ann: Principal, roles: set[str] | None, version: int | None = None) -> MembershipState:
    assert ann.tenant_id
    return MembershipState(
        tenant_id=ann.tenant_id,
        user_id=ann.user_id,
        roles=None if roles is None else frozenset(roles),
        version=version,
        expires_at=SOON,
    )


def entries_that_end(ann: Principal) -> list[Entry]:
    assert ann.tenant_id
    assert ann.session_id
    return [
        TokenEnded(id=ann.token_id, expires_at=SOON),
        SessionEnded(id=ann.session_id, expires_at=SOON),
        UserEpoch(id=ann.user_id, epoch=ann.user_epoch + 1, expires_at=SOON),
        membership(ann, None, (ann.membership_version or 0) + 1),
        TenantState(id=ann.tenant_id, suspended=True, version=(ann.tenant_version or 0) + 1, expires_at=SOON),
    ]


@pytest.mark.parametrize("kind", range(5))
async def test_each_kind_of_entry_ends_its_own_and_nobody_elses(
    feed: Feed, revocations: Revocations, ann: Principal, kind: int
) -> None:
    entry = entries_that_end(ann)[kind]
    feed.commit(entry)
    await revocations.poll("auth")
    assert revocations.ended(ann) == Ended(entry.kind)
    assert revocations.ended(person()) is None
    with pytest.raises(InvalidToken):
        revocations.admit(ann)


async def test_other_sessions_and_tenants_of_the_same_person_go_on(
    feed: Feed, revocations: Revocations, ann: Principal
) -> None:
    other = person(user_id=ann.user_id)
    for entry in entries_that_end(ann):
        if not isinstance(entry, UserEpoch):
            feed.commit(entry)
    await revocations.poll("auth")
    assert revocations.ended(other) is None


async def test_a_membership_ends_the_tokens_of_earlier_versions_whatever_their_roles(
    feed: Feed, revocations: Revocations, ann: Principal
) -> None:
    ann = replace(ann, membership_version=4)
    again = replace(ann, membership_version=6)
    feed.commit(membership(ann, None, 5))
    await revocations.poll("auth")
    assert revocations.ended(ann) == Ended("membership")
    assert revocations.ended(again) is None  # signed after the membership was taken up again, which is not known here
    feed.commit(membership(ann, {"user"}, 6))
    await revocations.poll("auth")
    assert revocations.ended(ann) == Ended("membership")  # with the same roles
    assert revocations.ended(again) is None


@pytest.mark.parametrize(("in_token", "in_entry"), [(None, 5), (4, None), (None, None)])
async def test_where_a_release_before_versions_takes_part_roles_decide(
    feed: Feed, revocations: Revocations, ann: Principal, in_token: int | None, in_entry: int | None
) -> None:
    ann = replace(ann, membership_version=in_token)
    analyst = replace(ann, roles=frozenset({"analyst"}))
    feed.commit(membership(ann, {"analyst"}, in_entry))
    await revocations.poll("auth")
    assert revocations.ended(ann) == Ended("membership")
    assert revocations.ended(analyst) is None


@pytest.mark.parametrize("in_entry", [None, 2])
async def test_a_suspended_tenant_is_refused_until_it_is_resumed(
    feed: Feed, revocations: Revocations, ann: Principal, in_entry: int | None
) -> None:
    assert ann.tenant_id
    feed.commit(TenantState(id=ann.tenant_id, suspended=True, version=in_entry, expires_at=SOON))
    await revocations.poll("auth")
    assert revocations.ended(ann) == Ended("tenant")
    assert revocations.ended(replace(ann, tenant_version=None)) == Ended("tenant")
    resumed = replace(ann, tenant_version=3)
    assert revocations.ended(resumed) == (Ended("tenant") if in_entry is None else None)
    feed.commit(TenantState(id=ann.tenant_id, suspended=False, expires_at=SOON))
    await revocations.poll("auth")
    assert revocations.ended(ann) is None


async def test_an_epoch_ends_the_tokens_before_it_and_never_goes_back(
    feed: Feed, revocations: Revocations, ann: Principal
) -> None:
    feed.commit(UserEpoch(id=ann.user_id, epoch=5, expires_at=SOON))
    await revocations.poll("auth")
    feed.commit(UserEpoch(id=ann.user_id, epoch=4, expires_at=SOON + 60))
    await revocations.poll("auth")
    assert revocations.ended(person(user_id=ann.user_id, user_epoch=4)) == Ended("user")
    assert revocations.ended(person(user_id=ann.user_id, user_epoch=5)) is None


async def test_a_row_that_commits_late_is_found_by_the_overlap(
    feed: Feed, revocations: Revocations, ann: Principal
) -> None:
    other = person()
    await revocations.poll("auth")
    feed.pass_time(20)
    feed.commit(SessionEnded(id=other.session_id or new_id(), expires_at=SOON))
    await revocations.poll("auth")  # the cursor is now past the begin of the transaction that still runs
    feed.pass_time(5)
    feed.commit(SessionEnded(id=ann.session_id or new_id(), expires_at=SOON), began_s_ago=15)
    await revocations.poll("auth")
    assert revocations.ended(ann) == Ended("session")
    assert revocations.ended(other) == Ended("session")


async def test_what_the_overlap_repeats_is_told_once(feed: Feed, revocations: Revocations, ann: Principal) -> None:
    told: list[Sequence[Entry]] = []
    unsubscribe = revocations.subscribe(told.append)
    feed.commit(entries_that_end(ann)[1])
    for _ in range(5):
        await revocations.poll("auth")
        feed.pass_time(0.5)
    assert told == [[entries_that_end(ann)[1]]]
    assert told[0][0].ends(ann)
    unsubscribe()
    feed.commit(entries_that_end(ann)[0])
    await revocations.poll("auth")
    assert len(told) == 1


async def test_the_set_holds_an_entry_until_its_last_token_has_expired(
    feed: Feed, revocations: Revocations, clock: Clock, ann: Principal
) -> None:
    ends = int(clock.now) + 100
    feed.commit(TokenEnded(id=ann.token_id, expires_at=ends))
    await revocations.poll("auth")
    clock.now = ends + LEEWAY_S - 0.5
    await revocations.poll("auth")
    assert revocations.ended(ann) == Ended("token")
    clock.now = ends + LEEWAY_S
    await revocations.poll("auth")  # the feed still repeats it; it is not taken in again
    assert (revocations.size, revocations.ended(ann)) == (0, None)


def test_an_entry_said_anew_with_a_later_end_stays_until_then(ann: Principal) -> None:
    known = RevocationSet()
    known.apply([TokenEnded(id=ann.token_id, expires_at=100)], now=0)
    known.apply([TokenEnded(id=ann.token_id, expires_at=200)], now=50)
    known.forget_expired(150)
    assert known.ended(ann) == Ended("token")
    known.forget_expired(200 + LEEWAY_S)
    assert len(known) == 0


def test_the_memory_of_a_long_run_is_bounded_by_what_has_not_expired() -> None:
    known, kept_s, per_s = RevocationSet(), 60, 20
    for second in range(600):
        known.forget_expired(second)
        fresh = [TokenEnded(id=f"{second}/{n}", expires_at=second + kept_s) for n in range(per_s)]
        for _ in range(3):  # as the overlap repeats them
            known.apply(fresh, now=second)
    assert len(known) <= per_s * (kept_s + LEEWAY_S + 1)
    assert len(known._expiries) == len(known)
    known.forget_expired(10_000)
    assert len(known) == len(known._expiries) == 0


async def test_nobody_serves_before_every_feed_was_read_once(clock: Clock) -> None:
    auth, users = Feed(), Feed()
    users.away = True
    revocations = Revocations({"auth": auth.fetch, "users": users.fetch}, clock=clock, monotonic=clock)
    await revocations.poll("auth")
    with pytest.raises(ServiceUnavailable):
        await revocations.poll("users")
    assert (revocations.loaded, revocations.stale) == (False, True)
    users.away = False
    await revocations.poll("users")
    assert (revocations.loaded, revocations.stale) == (True, False)


def test_without_feeds_there_is_nothing_to_wait_for(ann: Principal) -> None:
    revocations = Revocations({})
    assert revocations.loaded
    assert revocations.age_s == 0
    assert revocations  # `revocations or …` keeps the follower that holds nothing yet
    revocations.admit(ann, fresh=True)


async def test_a_feed_that_is_silent_for_long_refuses_only_what_must_be_fresh(
    feed: Feed, revocations: Revocations, clock: Clock, ann: Principal
) -> None:
    ended = person()
    feed.commit(entries_that_end(ended)[0])
    await revocations.poll("auth")
    feed.away = True
    for _ in range(4):
        clock.now += 10
        with pytest.raises(ServiceUnavailable):
            await revocations.poll("auth")
    assert revocations.stale
    assert revocations.age_s == pytest.approx(40)
    revocations.admit(ann)
    with pytest.raises(ServiceUnavailable) as refusal:
        revocations.admit(ann, fresh=True)
    assert "Retry-After" in refusal.value.headers
    with pytest.raises(InvalidToken):  # what is known to have ended stays ended
        revocations.admit(ended)
    feed.away = False
    await revocations.poll("auth")
    revocations.admit(ann, fresh=True)


async def test_a_deployment_may_refuse_everything_then(feed: Feed, clock: Clock, ann: Principal) -> None:
    revocations = Revocations({"auth": feed.fetch}, on_stale="refuse", clock=clock, monotonic=clock)
    await revocations.poll("auth")
    revocations.admit(ann)
    clock.now += 31
    with pytest.raises(ServiceUnavailable):
        revocations.admit(ann)


async def test_after_an_outage_the_cursor_goes_on_where_it_was(
    feed: Feed, revocations: Revocations, ann: Principal
) -> None:
    await revocations.poll("auth")
    feed.away = True
    feed.commit(entries_that_end(ann)[1])
    for _ in range(3):
        feed.pass_time(60)
        with pytest.raises(ServiceUnavailable):
            await revocations.poll("auth")
    feed.away = False
    await revocations.poll("auth")
    assert revocations.ended(ann) == Ended("session")
    assert len(set(feed.asked[1:])) == 1


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {"entries": []},
        {"entries": [{"kind": "planet", "id": "x", "expires_at": SOON}], "next": "1"},
        {"entries": [{"kind": "user", "id": str(new_id()), "epoch": "3", "expires_at": SOON}], "next": "1"},
        {"entries": [{"kind": "tenant", "id": str(new_id()), "suspended": "no", "expires_at": SOON}], "next": "1"},
        {"entries": [{"kind": "session", "id": "no id", "expires_at": SOON}], "next": "1"},
        {"entries": [{"kind": "token", "id": "t", "expires_at": 1e300}], "next": "1"},
        {"entries": [], "next": ""},
    ],
)
async def test_an_answer_that_cannot_be_read_counts_as_none(clock: Clock, answer: Any) -> None:
    async def fetch(after: str | None, seen: str | None) -> FeedPage:
        return FeedPage.model_validate(answer)

    revocations = Revocations({"auth": fetch}, clock=clock, monotonic=clock)
    with pytest.raises(ValueError, match="FeedPage"):
        await revocations.poll("auth")
    assert not revocations.loaded


async def test_a_feed_may_say_more_than_we_know(clock: Clock, ann: Principal) -> None:
    async def fetch(after: str | None, seen: str | None) -> FeedPage:
        entry = {"kind": "token", "id": ann.token_id, "expires_at": SOON, "reason": "logout"}
        return FeedPage.model_validate({"entries": [entry], "next": "1", "more": False})

    revocations = Revocations({"auth": fetch}, clock=clock, monotonic=clock)
    await revocations.poll("auth")
    assert revocations.ended(ann) == Ended("token")


async def test_a_follower_tells_its_subscribers_within_its_interval(feed: Feed, ann: Principal) -> None:
    revocations, told = Revocations({"auth": feed.fetch}, interval_s=0.01), asyncio.Event()
    revocations.subscribe(lambda news: told.set() if any(entry.ends(ann) for entry in news) else None)
    running = asyncio.create_task(revocations.run())
    await until(lambda: revocations.loaded)
    feed.commit(entries_that_end(ann)[1])
    await until(told.is_set)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert revocations.ended(ann) == Ended("session")


async def test_an_outage_is_logged_when_it_begins_and_when_it_ends(feed: Feed) -> None:
    revocations = Revocations({"auth": feed.fetch}, interval_s=0.01)
    with capture_logs() as logs:
        running = asyncio.create_task(revocations.run())
        await until(lambda: revocations.loaded)
        feed.away, failed_at = True, len(feed.asked)
        await until(lambda: len(feed.asked) > failed_at + 3)
        feed.away = False
        await until(lambda: any(line["event"] == "loop_recovered" for line in logs))
        running.cancel()
        await asyncio.wait([running])
    assert [(line["event"], line["loop"]) for line in logs] == [
        ("loop_interrupted", "revocations auth"),
        ("loop_recovered", "revocations auth"),
    ]


async def test_the_mark_of_a_page_goes_back_with_the_next_request(feed: Feed, revocations: Revocations) -> None:
    for feed.mark in ("a-1", "b-7", None, None):  # the last two are of a replica of the release before marks
        await revocations.poll("auth")
    assert feed.seen == [None, "a-1", "b-7", None]


async def test_a_follower_whose_news_may_not_age_does_not_wait(feed: Feed, clock: Clock) -> None:
    revocations = Revocations({"auth": feed.fetch}, stale_after_s=5, clock=clock, monotonic=clock)
    feed.mark = "a-1"
    for _ in range(2):
        await revocations.poll("auth")
    assert feed.seen == [None, None]


async def test_a_publisher_that_falls_silent_is_left_and_its_news_grow_old(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, ann: Principal
) -> None:
    """Frozen, or behind a connection that leads nowhere: the request is never answered and never refused."""
    monkeypatch.setattr("shared.identity.revocations.HELD_ANSWER_S", 0.05)
    silent = False

    async def fetch(after: str | None, seen: str | None) -> FeedPage:
        if silent:
            await asyncio.Event().wait()
        return feed_page([], datetime.now(UTC)).marked("a-1")

    revocations = Revocations({"auth": fetch}, clock=clock, monotonic=clock)
    await revocations.poll("auth")
    silent = True
    while not revocations.stale:
        clock.now += 7
        with pytest.raises(TimeoutError):
            await revocations.poll("auth")
    assert revocations.age_s == pytest.approx(35)
    with pytest.raises(ServiceUnavailable):
        revocations.admit(ann, fresh=True)
    silent = False
    await revocations.poll("auth")
    revocations.admit(ann, fresh=True)


async def test_news_are_as_old_as_the_last_request_that_was_answered(clock: Clock) -> None:
    async def fetch(after: str | None, seen: str | None) -> FeedPage:
        clock.now += 5  # held
        return feed_page([], datetime.now(UTC)).marked("a-1")

    revocations = Revocations({"auth": fetch}, clock=clock, monotonic=clock)
    await revocations.poll("auth")
    assert revocations.age_s == pytest.approx(5)


def test_a_cursor_is_the_databases_clock_to_the_microsecond() -> None:
    now = datetime(2026, 11, 24, 9, 33, 0, 123457, tzinfo=UTC)
    page = feed_page([], now)
    assert read_from(page.next) == now - timedelta(seconds=OVERLAP_S)
    assert read_from(None) is None


@pytest.mark.parametrize("cursor", ["", "-1", "1.5", "x", "٣", "9" * 18, "1 OR 1=1", "0x10"])
def test_what_is_no_cursor_is_invalid_input(cursor: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read_from(cursor)
    assert refusal.value.errors[0].parameter == "after"


def test_an_entry_is_kept_longer_than_any_token_that_it_ends_can_live() -> None:
    assert KEPT_S >= 600 + 60 + LEEWAY_S
