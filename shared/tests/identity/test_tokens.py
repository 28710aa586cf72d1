"""Internal tokens: what is believed, from whom, for how long, and everything that is not."""

import time
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.identity.keys import generate_key
from shared.identity.principal import Principal, ServiceCaller
from shared.identity.tokens import INTERNAL_TTL_S, LEEWAY_S, MAX_TOKEN_BYTES, InternalVerifier
from shared.identity.verifier import Verifier
from shared.ids import new_id
from shared.problems import InvalidToken

from .fleet import Clock, Fleet, hmac_token, person, segment

NOW = int(time.time())


@pytest.fixture
def verifier(fleet: Fleet) -> Verifier:
    return fleet.verifier("chat")


async def test_the_gateway_speaks_for_a_person_with_all_their_scopes(
    fleet: Fleet, verifier: Verifier, ann: Principal
) -> None:
    seen = await verifier.verify(fleet.signer("gateway").forward(ann, "chat"))
    assert seen == replace(ann, issuer="gateway")


async def test_an_internal_token_is_short_and_remembers_the_end_of_the_persons_own(
    fleet: Fleet, verifier: Verifier, ann: Principal
) -> None:
    token = fleet.signer("gateway").forward(ann, "chat")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == INTERNAL_TTL_S
    assert (await verifier.verify(token)).expires_at == ann.expires_at


async def test_a_token_is_verified_once(fleet: Fleet, verifier: Verifier, ann: Principal) -> None:
    token = fleet.signer("gateway").forward(ann, "chat")
    assert await verifier.caller(token) is await verifier.caller(token)


async def test_a_remembered_token_ends_when_it_expires(fleet: Fleet, ann: Principal) -> None:
    clock, trust = Clock(time.time()), fleet.trust()
    internal = InternalVerifier("chat", lambda: trust, clock=clock)
    token = fleet.signer("gateway").forward(ann, "chat")
    await Verifier(internal).caller(token)
    clock.now += INTERNAL_TTL_S
    assert internal.remembered(token) is not None
    clock.now += LEEWAY_S
    assert internal.remembered(token) is None


async def test_an_internal_token_never_outlives_the_persons_own(fleet: Fleet) -> None:
    ends = int(time.time()) + 7
    token = fleet.signer("gateway").forward(person(expires_at=ends), "chat")
    assert jwt.decode(token, options={"verify_signature": False})["exp"] == ends


@pytest.mark.parametrize("ttl_s", [0, -1, INTERNAL_TTL_S + 1])
def test_a_signer_makes_no_long_lived_token(fleet: Fleet, ann: Principal, ttl_s: int) -> None:
    with pytest.raises(ValueError, match="internal token"):
        fleet.signer("gateway").forward(ann, "chat", ttl_s=ttl_s)


async def test_a_capped_service_gets_the_cap_and_nothing_more(fleet: Fleet, verifier: Verifier) -> None:
    greedy = person(scopes=frozenset({"files:read", "chat:write", "admin:write"}), roles=frozenset({"admin"}))
    seen = await verifier.verify(fleet.signer("tasks").sign_for(greedy, "chat"))
    assert (seen.scopes, seen.actor) == (frozenset({"files:read"}), "tasks")


async def test_an_operator_who_acts_as_the_person_is_known_behind_every_service(
    fleet: Fleet, verifier: Verifier
) -> None:
    operator = new_id()
    impersonated = person(impersonator=operator)
    forwarded = fleet.signer("gateway").forward(impersonated, "chat")
    assert jwt.decode(forwarded, options={"verify_signature": False})["act"] == {
        "sub": str(operator),
        "kind": "impersonation",
    }
    seen = await verifier.verify(forwarded)
    assert (seen.actor, seen.impersonator, seen.acting) == (None, operator, str(operator))

    called = fleet.signer("tasks").sign_for(seen, "chat")
    assert jwt.decode(called, options={"verify_signature": False})["act"] == {
        "sub": "tasks",
        "act": {"sub": str(operator), "kind": "impersonation"},
    }
    seen = await verifier.verify(called)
    assert (seen.actor, seen.impersonator, seen.acting) == ("tasks", operator, str(operator))


async def test_an_operator_is_not_the_service_that_acts(fleet: Fleet, verifier: Verifier) -> None:
    """A service that must name itself does not do so by an impersonation."""
    with pytest.raises(InvalidToken, match="act"):
        await verifier.verify(
            fleet.internal(key=fleet.tasks, iss="tasks", act={"sub": str(new_id()), "kind": "impersonation"})
        )


async def test_a_capped_service_must_say_that_it_acts_for_the_person(fleet: Fleet, verifier: Verifier) -> None:
    for act in (..., {"sub": "gateway"}):
        with pytest.raises(InvalidToken, match="act"):
            await verifier.verify(fleet.internal(key=fleet.tasks, iss="tasks", act=act))


async def test_a_service_without_terms_may_not_act_for_people(fleet: Fleet, verifier: Verifier, ann: Principal) -> None:
    with pytest.raises(InvalidToken, match="may not act for people"):
        await verifier.verify(fleet.signer("auth").sign_for(ann, "chat"))


@pytest.mark.parametrize("service", ["gateway", "tasks", "auth"])
async def test_a_service_speaks_for_itself(fleet: Fleet, verifier: Verifier, service: str) -> None:
    token = fleet.signer(service).sign_as_service("chat")
    caller = await verifier.caller(token)
    assert isinstance(caller, ServiceCaller)
    assert caller.name == service
    with pytest.raises(InvalidToken, match="requires a person"):
        await verifier.verify(token)


async def test_a_service_cannot_speak_as_another_service(fleet: Fleet, verifier: Verifier) -> None:
    for issuer in ("gateway", "tasks"):
        with pytest.raises(InvalidToken):
            await verifier.caller(fleet.internal(key=fleet.tasks, iss=issuer, sub="gateway"))


@pytest.mark.parametrize(
    "bent",
    [
        {"aud": "users"},
        {"aud": ["chat", "users"]},
        {"aud": ["chat"]},
        {"aud": ...},
        {"iss": "auth"},
        {"iss": ["gateway"]},
        {"iss": ...},
        {"sub": ...},
        {"exp": ...},
        {"iat": ...},
        {"jti": ...},
        {"exp": NOW - LEEWAY_S - 1},
        {"exp": "soon"},
        {"exp": 1e400},
        {"exp": float("nan")},
        {"exp": str(NOW + 60)},
        {"exp": NOW + 59.5},
        {"exp": [NOW]},
        {"iat": NOW + 300, "exp": NOW + 330},
        {"nbf": NOW + 300},
        {"nbf": "later"},
        {"exp": NOW + 3600},
        {"iat": NOW - 600},
        {"exp": 10**18},
    ],
)
async def test_a_token_with_a_wrong_frame_is_refused(fleet: Fleet, verifier: Verifier, bent: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        await verifier.caller(fleet.internal(**bent))


async def test_clocks_may_be_apart_by_the_leeway(fleet: Fleet, verifier: Verifier) -> None:
    now = int(time.time())
    await verifier.verify(fleet.internal(iat=now - 30, exp=now - LEEWAY_S + 2))
    await verifier.verify(fleet.internal(iat=now + LEEWAY_S - 1, nbf=now + LEEWAY_S - 1))


@pytest.mark.parametrize("typ", ["at+jwt", "dpop+jwt", "logout+jwt", "", None])
async def test_a_token_of_another_type_is_refused(fleet: Fleet, verifier: Verifier, typ: str | None) -> None:
    with pytest.raises(InvalidToken):
        await verifier.caller(fleet.internal(header={"typ": typ}))


@pytest.mark.parametrize("alg", ["none", "None", "NONE", ""])
async def test_an_unsigned_token_is_refused(fleet: Fleet, verifier: Verifier, alg: str) -> None:
    _, claims, _ = fleet.internal().split(".")
    header = segment({"alg": alg, "typ": "JWT", "kid": fleet.gateway.kid})
    for forged in (f"{header}.{claims}.", f"{header}.{claims}.AA", f"{header}.{claims}"):
        with pytest.raises(InvalidToken):
            await verifier.caller(forged)


async def test_a_public_key_is_never_taken_for_a_shared_secret(fleet: Fleet, verifier: Verifier) -> None:
    public = fleet.gateway.key.public_key()
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    secrets = [public.public_bytes(form, spki) for form in (serialization.Encoding.PEM, serialization.Encoding.DER)]
    claims = jwt.decode(fleet.internal(), options={"verify_signature": False})
    for secret in [*secrets, fleet.gateway.public_jwk["x"].encode()]:
        forged = hmac_token({"alg": "HS256", "typ": "JWT", "kid": fleet.gateway.kid}, claims, secret)
        with pytest.raises(InvalidToken):
            await verifier.caller(forged)


async def test_keys_that_a_token_brings_along_are_never_used(fleet: Fleet, verifier: Verifier) -> None:
    mine = generate_key()
    tricks = {"jwk": mine.public_jwk, "jku": "https://evil.example/jwks.json", "x5u": "https://evil.example/cert"}
    for kid in (mine.kid, fleet.gateway.kid):
        with pytest.raises(InvalidToken):
            await verifier.caller(fleet.internal(key=mine, header={"kid": kid, **tricks}))


async def test_a_token_with_an_unknown_critical_header_is_refused(fleet: Fleet, verifier: Verifier) -> None:
    with pytest.raises(InvalidToken):
        await verifier.caller(fleet.internal(header={"crit": ["exp-policy"], "exp-policy": 1}))


async def test_a_changed_byte_ends_a_token(fleet: Fleet, verifier: Verifier) -> None:
    header, claims, signature = fleet.internal().split(".")
    other = segment({**jwt.decode(f"{header}.{claims}.{signature}", options={"verify_signature": False}), "aud": "x"})
    flipped = signature[:10] + ("A" if signature[10] != "A" else "B") + signature[11:]
    for changed in (f"{header}.{other}.{signature}", f"{header}.{claims}.{flipped}"):
        with pytest.raises(InvalidToken):
            await verifier.caller(changed)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "é.é.é",
        "\ud800.a.b",
        f"{segment(b'[' * 5000)}.e30.AA",
        f"{segment(['JWT'])}.e30.AA",
        f"{segment({'kid': ['a'], 'typ': 'JWT'})}.e30.AA",
        f"{segment({'kid': None, 'typ': 'JWT'})}.e30.AA",
        f"{segment({'typ': 'JWT'})}.e30.AA",
        f"{segment({'kid': 'a', 'typ': 7})}.e30.AA",
        f"{segment(b'{')}.e30.AA",
        "x" * 1024 * 1024,
        "." * 1024 * 1024,
    ],
)
async def test_what_is_no_token_is_refused(verifier: Verifier, token: str) -> None:
    with pytest.raises(InvalidToken):
        await verifier.caller(token)


async def test_a_token_over_the_size_limit_is_refused_though_it_is_signed(fleet: Fleet, verifier: Verifier) -> None:
    await verifier.caller(fleet.internal(note="n" * 2000))
    with pytest.raises(InvalidToken, match="malformed"):
        await verifier.caller(fleet.internal(note="n" * MAX_TOKEN_BYTES))


async def test_signed_claims_nested_too_deeply_are_refused(fleet: Fleet, verifier: Verifier) -> None:
    header = {"kid": fleet.gateway.kid, "typ": "JWT"}
    token = jwt.PyJWS().encode(b'{"iss":' + b"[" * 4000, fleet.gateway.key, "ES256", header)
    with pytest.raises(InvalidToken):
        await verifier.caller(token)


@settings(deadline=None)
@given(header=st.dictionaries(st.sampled_from(["kid", "typ", "alg", "crit", "b64", "zip"]), st.text() | st.integers()))
async def test_any_header_is_refused_in_words(fleet: Fleet, header: dict[str, Any]) -> None:
    _, claims, signature = fleet.internal().split(".")
    with pytest.raises(InvalidToken):
        await fleet.verifier().caller(f"{segment(header)}.{claims}.{signature}")


@settings(deadline=None)
@given(token=st.text(max_size=200))
async def test_any_text_is_refused_in_words(fleet: Fleet, token: str) -> None:
    with pytest.raises(InvalidToken):
        await fleet.verifier().caller(token)


async def test_a_trusted_service_with_malformed_claims_is_refused_in_words(fleet: Fleet, verifier: Verifier) -> None:
    for bent in ({"roles": "admin"}, {"scope": 7}, {"user_epoch": None}, {"tenant": "acme"}, {"sub": "ann"}):
        with pytest.raises(InvalidToken):
            await verifier.verify(fleet.internal(**bent))


async def test_an_access_token_is_not_taken_behind_the_gateway(fleet: Fleet, verifier: Verifier) -> None:
    with pytest.raises(InvalidToken, match="gateway"):
        await verifier.caller(fleet.access_token())
