"""A principal and its claims: the same person on both sides, and no claim that makes more than a 401."""

import contextlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.identity.principal import Principal
from shared.problems import InvalidToken

from .fleet import person

CLAIMS = {**person(actor="tasks").to_claims(), "iss": "gateway", "exp": 2_000_000_000}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def test_a_person_survives_the_journey_as_claims(ann: Principal) -> None:
    assert Principal.from_claims({**ann.to_claims(), "iss": ann.issuer, "exp": 1}) == ann


def test_a_person_without_a_tenant_survives_it_too() -> None:
    nobody = person(tenant_id=None, tenant_slug=None, tier=None, session_id=None, roles=frozenset(), scopes=frozenset())
    nobody = replace(nobody, membership_version=None, tenant_version=None)
    assert Principal.from_claims({**nobody.to_claims(), "iss": nobody.issuer}) == nobody


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sub", "ann"),
        ("sub", CLAIMS["sub"].upper()),
        ("sub", "{" + CLAIMS["sub"] + "}"),
        ("sub", 7),
        ("tenant", "acme"),
        ("roles", "admin"),
        ("roles", [1]),
        ("roles", None),
        ("scope", ["chat:read"]),
        ("scope", None),
        ("user_epoch", True),
        ("user_epoch", "3"),
        ("user_epoch", -1),
        ("user_epoch", None),
        ("membership_version", "1"),
        ("membership_version", -1),
        ("tenant_version", True),
        ("person_exp", 1.5),
        ("person_exp", 10**30),
        ("client_id", ""),
        ("jti", None),
        ("act", "tasks"),
        ("act", {"sub": ["tasks"]}),
        ("act", {"sub": "tasks", "act": "root"}),
        ("act", {"sub": "root", "kind": "impersonation"}),
        ("preferred_username", "a\0b"),
        ("preferred_username", "\ud800"),
    ],
)
def test_a_claim_of_the_wrong_type_is_an_invalid_token(name: str, value: object) -> None:
    with pytest.raises(InvalidToken):
        Principal.from_claims({**CLAIMS, name: value})


@given(name=st.sampled_from(sorted(CLAIMS)), value=ANYTHING)
def test_any_value_of_any_claim_is_a_person_or_an_invalid_token(name: str, value: Any) -> None:
    try:
        principal = Principal.from_claims({**CLAIMS, name: value})
    except InvalidToken:
        return
    assert Principal.from_claims({**principal.to_claims(), "iss": principal.issuer}) == principal


@given(claims=st.dictionaries(st.sampled_from(sorted(CLAIMS)), ANYTHING))
def test_any_set_of_claims_is_a_person_or_an_invalid_token(claims: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidToken):
        Principal.from_claims(claims)
