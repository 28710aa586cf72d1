"""The rules for a new password: common ones are refused, and the operator chooses between two policies."""

from typing import Any

import pytest

from .door import Door, new_password

LONG = "a boat with two blue sails"


@pytest.fixture
def policy(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", "composition"))


@pytest.fixture
def settings_values(settings_values: dict[str, Any], policy: str) -> dict[str, Any]:
    return settings_values | {"passwords": settings_values["passwords"] | {"policy": policy}}


async def refusals(door: Door, password: str) -> set[str]:
    """The codes of the rules that the password breaks."""
    reply = await door.register("ann", **new_password(password))
    return {error["code"] for error in reply.json().get("errors", ())}


@pytest.mark.parametrize(
    "password",
    [
        "Password1",
        "P@ssw0rd2026!",
        "2026-Football",
        "\uff30assword1",  # a full-width P
        "Aa1Aa1Aa1Aa1",
        "Xyzxyzxyz1",
        "Letmeinletmein7",
        "Qwertyuiop123",
    ],
)
async def test_a_common_password_is_refused_with_the_reason(door: Door, password: str) -> None:
    reply = await door.register("ann", **new_password(password))
    [error] = reply.json()["errors"]
    assert error == {
        "code": "password_common",
        "detail": "Must not be a common password, nor one with digits or signs added.",
        "pointer": "#/password",
    }
    assert await door.rows("SELECT 1 FROM accounts") == []


@pytest.mark.parametrize(
    "password", ["Sail-away-7", "Other-word-8", "Tr0ub4dor&3", "\u041f\u0430\u0440\u0443\u0441-78"]
)
async def test_another_password_is_not(door: Door, password: str) -> None:
    assert await refusals(door, password) == set()


async def test_a_password_of_many_characters_is_used_whole(door: Door) -> None:
    long = "".join(f"{number} sails, " for number in range(22)) + "End"
    assert (await door.register("ann", **new_password(long))).status_code == 201
    assert (await door.login("ann", long[:-1])).status_code == 401
    assert (await door.login("ann", long)).status_code == 200


@pytest.mark.parametrize("policy", ["length"], indirect=True)
async def test_by_length_alone_a_password_has_15_characters_of_any_kind(door: Door) -> None:
    assert await refusals(door, "Sail-away-7") == {"password_too_short"}
    assert await refusals(door, "passwordpassword") == {"password_common"}
    assert await refusals(door, "1234567890qwerty") == {"password_common"}
    assert await refusals(door, LONG) == set()
    assert (await door.login("ann", LONG)).status_code == 200
