from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from shared.testing import People
from shared.testing.names import UNACCEPTABLE_NAMES

pytestmark = pytest.mark.usefixtures("acme")

WHOLE = {"full_name": "Ann Lee", "bio": "Sails.", "phone": "+4930901820", "birth_date": "1990-02-28", "locale": "de-DE"}


@pytest.fixture
def ann(as_user: People) -> dict[str, str]:
    return as_user("ann", roles=["admin"])


async def test_a_new_member_has_a_profile_with_their_name_and_nothing_else(
    client: httpx2.AsyncClient, as_user: People
) -> None:
    reply = await client.get("/api/v1/profile", headers=as_user("bob"))
    assert reply.status_code == 200
    body = reply.json()
    assert (body["user_id"], body["username"]) == (str(as_user.id("bob")), "bob")
    assert all(body[name] is None for name in WHOLE)


async def test_a_profile_is_replaced_whole(client: httpx2.AsyncClient, ann: dict[str, str]) -> None:
    first = await client.put("/api/v1/profile", json=WHOLE, headers=ann)
    assert first.status_code == 200
    assert {name: first.json()[name] for name in WHOLE} == WHOLE
    second = await client.put("/api/v1/profile", json={"full_name": "Ann"}, headers=ann)
    assert second.json()["bio"] is None
    assert second.json()["updated_at"] > first.json()["updated_at"]


@pytest.mark.parametrize("content_type", ["application/merge-patch+json", "application/json"])
async def test_a_patch_changes_what_it_names_and_empties_what_is_null(
    client: httpx2.AsyncClient, ann: dict[str, str], content_type: str
) -> None:
    await client.put("/api/v1/profile", json=WHOLE, headers=ann)
    reply = await client.patch(
        "/api/v1/profile", content=b'{"bio": "Sings.", "phone": null}', headers=ann | {"Content-Type": content_type}
    )
    assert reply.status_code == 200
    assert {name: reply.json()[name] for name in WHOLE} == WHOLE | {"bio": "Sings.", "phone": None}


async def test_users_me_is_the_same_profile(client: httpx2.AsyncClient, ann: dict[str, str]) -> None:
    written = await client.put("/api/v1/profile", json=WHOLE, headers=ann)
    read = await client.get("/api/v1/users/me", headers=ann)
    assert (read.json(), read.headers["etag"]) == (written.json(), written.headers["etag"])


async def test_who_has_the_current_version_is_told_so(client: httpx2.AsyncClient, ann: dict[str, str]) -> None:
    shown = await client.get("/api/v1/profile", headers=ann)
    again = await client.get("/api/v1/profile", headers=ann | {"If-None-Match": shown.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", shown.headers["etag"])


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_write_over_a_version_that_is_not_current_changes_nothing(
    client: httpx2.AsyncClient, ann: dict[str, str], method: str
) -> None:
    stale = (await client.get("/api/v1/profile", headers=ann)).headers["etag"]
    await client.put("/api/v1/profile", json=WHOLE, headers=ann | {"If-Match": stale})
    refused = await client.request(
        method, "/api/v1/profile", json={"full_name": "Late"}, headers=ann | {"If-Match": stale}
    )
    assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")
    assert (await client.get("/api/v1/profile", headers=ann)).json()["full_name"] == WHOLE["full_name"]


def born(years: int, *, later: int = 0) -> str:
    """The day that was `years` years ago in UTC, or so many days later."""
    today = datetime.now(UTC).date()
    today = today.replace(day=28) if (today.month, today.day) == (2, 29) else today
    return str(today.replace(year=today.year - years) + timedelta(days=later))


@pytest.mark.parametrize("day", [born(13), born(121, later=1)])
async def test_the_youngest_and_the_oldest_have_a_birth_date(
    client: httpx2.AsyncClient, ann: dict[str, str], day: str
) -> None:
    reply = await client.patch("/api/v1/profile", json={"birth_date": day}, headers=ann)
    assert (reply.status_code, reply.json()["birth_date"]) == (200, day)


BROKEN: list[tuple[dict[str, object], str, str]] = [
    ({}, "#/full_name", "missing"),
    ({"full_name": ""}, "#/full_name", "visible_character"),
    ({"full_name": 7}, "#/full_name", "string_type"),
    ({"full_name": " "}, "#/full_name", "visible_character"),
    ({"full_name": "Ann\nLee"}, "#/full_name", "one_line"),
    ({"full_name": "Ann\u2028Lee"}, "#/full_name", "one_line"),
    ({"full_name": "A", "nickname": "x"}, "#/nickname", "extra_forbidden"),
    ({"full_name": "A", "phone": "030 901820"}, "#/phone", "phone_number"),
    ({"full_name": "A", "phone": "+49"}, "#/phone", "phone_number"),
    ({"full_name": "A", "birth_date": born(13, later=1)}, "#/birth_date", "age"),
    ({"full_name": "A", "birth_date": born(121)}, "#/birth_date", "age"),
    ({"full_name": "A", "birth_date": "2990-01-01"}, "#/birth_date", "age"),
    ({"full_name": "A", "birth_date": "1990-02-30"}, "#/birth_date", "not_a_day"),
    ({"full_name": "A", "birth_date": "1990-02-03T00:00:00Z"}, "#/birth_date", "not_a_day"),
    ({"full_name": "A", "birth_date": "0"}, "#/birth_date", "not_a_day"),
    ({"full_name": "A", "birth_date": 0}, "#/birth_date", "not_a_day"),
    ({"full_name": "A", "locale": "English"}, "#/locale", "language_tag"),
    ({"full_name": "A\u0000"}, "#/full_name", "nul_character"),
]


async def test_a_profile_that_breaks_a_rule_is_told_which(client: httpx2.AsyncClient, ann: dict[str, str]) -> None:
    for body, pointer, code in BROKEN:
        reply = await client.put("/api/v1/profile", json=body, headers=ann)
        assert reply.status_code == 422
        assert [(error["pointer"], error["code"]) for error in reply.json()["errors"]] == [(pointer, code)]


async def test_what_is_so_already_makes_no_version(client: httpx2.AsyncClient, ann: dict[str, str]) -> None:
    first = await client.put("/api/v1/profile", json=WHOLE, headers=ann)
    for again in [
        await client.put("/api/v1/profile", json=WHOLE, headers=ann),
        await client.patch("/api/v1/profile", json={"bio": WHOLE["bio"]}, headers=ann),
        await client.patch("/api/v1/profile", json={}, headers=ann),
    ]:
        assert (again.status_code, again.json()) == (200, first.json())
        assert again.headers["etag"] == first.headers["etag"]


async def test_a_patch_cannot_take_the_name_away(client: httpx2.AsyncClient, ann: dict[str, str]) -> None:
    reply = await client.patch("/api/v1/profile", json={"full_name": None}, headers=ann)
    assert (reply.status_code, reply.json()["errors"][0]["pointer"]) == (422, "#/full_name")


async def test_a_missing_scope_is_named(client: httpx2.AsyncClient, as_user: People) -> None:
    reply = await client.put("/api/v1/profile", json=WHOLE, headers=as_user("ann", scopes=["profile:read"]))
    assert reply.status_code == 403
    assert 'error="insufficient_scope", scope="profile:write"' in reply.headers["www-authenticate"]


async def test_nobody_without_a_token(client: httpx2.AsyncClient) -> None:
    reply = await client.get("/api/v1/profile")
    assert (reply.status_code, reply.json()["code"]) == (401, "unauthenticated")


async def test_where_one_is_no_member_there_is_no_profile(client: httpx2.AsyncClient, as_user: People) -> None:
    for tenant in ("globex", None):
        reply = await client.get("/api/v1/profile", headers=as_user("ann", tenant=tenant))
        assert (reply.status_code, reply.json()["code"]) == (404, "profile_not_found")


@pytest.mark.parametrize("name", UNACCEPTABLE_NAMES)
async def test_a_name_that_cannot_be_read_is_refused(
    client: httpx2.AsyncClient, ann: dict[str, str], name: str
) -> None:
    reply = await client.put("/api/v1/profile", json={"full_name": name}, headers=ann)
    assert (reply.status_code, reply.json()["errors"][0]["pointer"]) == (422, "#/full_name")


async def test_texts_are_stored_composed(client: httpx2.AsyncClient, ann: dict[str, str]) -> None:
    sent = {"full_name": " Zoe\u0308 \u00a0 Lee", "bio": "Cafe\u0301\n au lait"}
    reply = await client.put("/api/v1/profile", json=sent, headers=ann)
    assert (reply.json()["full_name"], reply.json()["bio"]) == ("Zo\u00eb Lee", "Caf\u00e9\n au lait")


@pytest.mark.parametrize(
    "name",
    [
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "Ann \u2615\ufe0f",
        "\U0001f469\u200d\U0001f680 Ann",
        "\u2167",
    ],
)
async def test_a_name_keeps_its_joiners_and_signs(client: httpx2.AsyncClient, ann: dict[str, str], name: str) -> None:
    reply = await client.put("/api/v1/profile", json={"full_name": name}, headers=ann)
    assert (reply.status_code, reply.json()["full_name"]) == (200, name)


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("en-us", "en-US"),
        ("EN", "en"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("ca-ES-valencia", "ca-ES-valencia"),
        ("en-US-u-hc-h12", "en-US-u-hc-h12"),
        ("iw", "he"),  # deprecated
        ("es-419", "es-419"),
    ],
)
async def test_a_locale_is_stored_in_its_canonical_form(
    client: httpx2.AsyncClient, ann: dict[str, str], sent: str, stored: str
) -> None:
    reply = await client.put("/api/v1/profile", json={"full_name": "A", "locale": sent}, headers=ann)
    assert (reply.status_code, reply.json().get("locale")) == (200, stored)


@pytest.mark.parametrize(
    "locale", ["english", "e", "en-", "de-DE-x", "en_US.UTF-8", "xx-yy-zz", "en us", "\u212aa", ""]
)
async def test_what_is_no_language_tag_is_refused(client: httpx2.AsyncClient, ann: dict[str, str], locale: str) -> None:
    reply = await client.put("/api/v1/profile", json={"full_name": "A", "locale": locale}, headers=ann)
    assert (reply.status_code, reply.json()["errors"][0]["pointer"]) == (422, "#/locale")


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("+1 650-253-0000 ext. 123", "+16502530000;ext=123"),
        ("+1 650-253-0000 x123", "+16502530000;ext=123"),
        ("+16502530000;ext=123", "+16502530000;ext=123"),
        ("+1 (650) 253-0000", "+16502530000"),
        ("+44 (0)20 7031 3000", "+442070313000"),
        ("\uff0b\uff14\uff19 30 901820", "+4930901820"),
    ],
)
async def test_a_phone_number_is_kept_whole(
    client: httpx2.AsyncClient, ann: dict[str, str], sent: str, stored: str
) -> None:
    reply = await client.put("/api/v1/profile", json={"full_name": "A", "phone": sent}, headers=ann)
    assert (reply.status_code, reply.json().get("phone")) == (200, stored)


@pytest.mark.parametrize(
    "phone",
    [
        "+1 650-253-0000 / +1 650-253-0001",
        "+1 650-253-0000 or mail me",
        "call +1 650-253-0000",
        "+1 650-253-0000 ext.",
        "+1 650-253-0000;isub=12345",
        "+1 800 FLOWERS",
    ],
)
async def test_a_phone_number_with_more_than_a_number_is_refused(
    client: httpx2.AsyncClient, ann: dict[str, str], phone: str
) -> None:
    reply = await client.put("/api/v1/profile", json={"full_name": "A", "phone": phone}, headers=ann)
    assert (reply.status_code, reply.json()["errors"][0]["pointer"]) == (422, "#/phone")
