"""People's access tokens: whose are taken, the memory of those seen, and keys that come, go and are made up."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from shared.identity.access_tokens import AccessTokenVerifier
from shared.identity.jwks import MIN_INTERVAL_S, Jwks
from shared.identity.keys import generate_key
from shared.identity.principal import Principal
from shared.identity.tokens import LEEWAY_S
from shared.problems import InvalidToken, ServiceUnavailable

from .fleet import PUBLIC_URL, Clock, Fleet, KeySource, hmac_token, person, until


async def test_a_token_of_auth_service_is_a_person(fleet: Fleet, access: AccessTokenVerifier, ann: Principal) -> None:
    assert await access.verify(fleet.access_token(ann)) == ann


async def test_it_is_taken_by_a_service_only_where_access_tokens_are_accepted(
    fleet: Fleet, access: AccessTokenVerifier, ann: Principal
) -> None:
    token = fleet.access_token(ann)
    assert await fleet.verifier("chat", access).verify(token) == ann
    with pytest.raises(InvalidToken, match="gateway"):
        await fleet.verifier("chat").verify(token)


async def test_a_token_that_is_bound_to_a_key_needs_a_proof_by_that_key(
    fleet: Fleet, access: AccessTokenVerifier, ann: Principal
) -> None:
    bound, plain = replace(ann, dpop_jkt="x" * 43), replace(ann, token_id="another")
    token, unbound = fleet.access_token(bound), fleet.access_token(plain)
    for _ in range(2):  # verified by signature, then remembered
        with pytest.raises(InvalidToken, match="proof") as refused:
            await fleet.verifier("chat", access).verify(token)
        assert refused.value.headers["WWW-Authenticate"].startswith('DPoP realm="flotilla", error="invalid_token"')
        with pytest.raises(InvalidToken, match="another key"):
            access.verify_now(token, proven_jkt="y" * 43)
        assert await access.verify(token, proven_jkt="x" * 43) == bound
        with pytest.raises(InvalidToken, match="bearer"):
            await access.verify(unbound, proven_jkt="x" * 43)
        assert await access.verify(unbound) == plain


NOW = int(time.time())


@pytest.mark.parametrize(
    "bent",
    [
        {"issuer": "https://other.example"},
        {"audience": "https://other.example"},
        {"audience": "chat"},
        {"now": NOW + 300},
        {"claims": {"person_exp": NOW - LEEWAY_S - 1}},
        {"claims": {"client_id": None}},
        {"claims": {"nbf": NOW + 300}},
        {"claims": {"sub": "ann"}},
        {"claims": {"roles": {"admin": True}}},
        {"claims": {"amr": "pwd"}},
        {"claims": {"auth_time": "now"}},
    ],
)
async def test_a_bent_access_token_is_refused(fleet: Fleet, access: AccessTokenVerifier, bent: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        await access.verify(fleet.access_token(**bent))


@pytest.mark.parametrize("typ", ["JWT", "id+jwt", "logout+jwt"])
async def test_an_id_token_of_the_same_key_is_no_access_token(
    fleet: Fleet, access: AccessTokenVerifier, typ: str
) -> None:
    claims = jwt.decode(fleet.access_token(), options={"verify_signature": False})
    token = jwt.encode(claims, fleet.access.key, "ES256", {"kid": fleet.access.kid, "typ": typ})
    for verify in (access.verify, fleet.verifier("chat", access).verify):
        with pytest.raises(InvalidToken):
            await verify(token)


async def test_the_media_type_may_be_spelt_out(fleet: Fleet, access: AccessTokenVerifier) -> None:
    claims = jwt.decode(fleet.access_token(), options={"verify_signature": False})
    header = {"kid": fleet.access.kid, "typ": "application/AT+JWT"}
    await access.verify(jwt.encode(claims, fleet.access.key, "ES256", header))


async def test_an_internal_token_is_no_access_token_at_the_gateway(fleet: Fleet, access: AccessTokenVerifier) -> None:
    for header in (None, {"typ": "at+jwt"}):
        with pytest.raises(InvalidToken):
            await access.verify(fleet.internal(aud=PUBLIC_URL, header=header))


async def test_an_access_token_key_signs_no_internal_token(fleet: Fleet, access: AccessTokenVerifier) -> None:
    with pytest.raises(InvalidToken):
        await fleet.verifier("chat", access).verify(fleet.internal(key=fleet.access))


async def test_the_public_key_of_the_set_is_no_shared_secret(fleet: Fleet, access: AccessTokenVerifier) -> None:
    claims = jwt.decode(fleet.access_token(), options={"verify_signature": False})
    pem = fleet.access.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    with pytest.raises(InvalidToken):
        await access.verify(hmac_token({"alg": "HS256", "typ": "at+jwt", "kid": fleet.access.kid}, claims, pem))


async def test_words_of_internal_tokens_mean_nothing_in_an_access_token(
    fleet: Fleet, access: AccessTokenVerifier, ann: Principal
) -> None:
    claims = jwt.decode(fleet.access_token(ann), options={"verify_signature": False})
    bent = {**claims, "person_exp": claims["exp"] + 9999, "act": {"sub": "gateway"}}
    token = jwt.encode(bent, fleet.access.key, "ES256", {"kid": fleet.access.kid, "typ": "at+jwt"})
    assert await access.verify(token) == ann


async def test_the_second_look_at_a_token_is_a_look_up(
    fleet: Fleet, access: AccessTokenVerifier, ann: Principal
) -> None:
    token = fleet.access_token(ann)
    first = access.verify_now(token)
    assert first == ann
    assert access.verify_now(token) is first
    access.forget()
    assert access.verify_now(token) == ann


async def test_the_memory_never_outlives_the_token(fleet: Fleet, access: AccessTokenVerifier, clock: Clock) -> None:
    ends = int(time.time()) + 600
    token = fleet.access_token(person(expires_at=ends))
    first = access.verify_now(token)
    clock.now = ends - 0.1
    assert access.verify_now(token) is first
    clock.now = ends
    assert access.verify_now(token) is not first  # verified anew, by the true clock
    with pytest.raises(InvalidToken, match="expired"):
        access.verify_now(fleet.access_token(person(expires_at=int(time.time()) - LEEWAY_S - 1)))


async def test_the_memory_is_bounded_and_lets_the_longest_unused_go(fleet: Fleet, jwks: Jwks) -> None:
    access = AccessTokenVerifier(jwks, public_url=PUBLIC_URL, cache_size=2)
    tokens = [fleet.access_token() for _ in range(3)]
    first, second = access.verify_now(tokens[0]), access.verify_now(tokens[1])
    assert access.verify_now(tokens[0]) is first
    access.verify_now(tokens[2])
    assert access.verify_now(tokens[0]) is first
    assert access.verify_now(tokens[1]) is not second


async def test_a_forged_token_is_not_remembered(fleet: Fleet, access: AccessTokenVerifier) -> None:
    token = fleet.access_token(issuer="https://other.example")
    for _ in range(2):
        with pytest.raises(InvalidToken):
            access.verify_now(token)


async def test_a_key_rotates_without_a_refused_request(
    fleet: Fleet, access: AccessTokenVerifier, source: KeySource, jwks: Jwks
) -> None:
    new = generate_key()
    old_token = fleet.access_token()
    source.keys = [fleet.access, new]  # next: published, not yet signing
    await jwks.refresh()
    new_token = fleet.access_token(key=new)  # active
    asked = source.asked
    await access.verify(old_token)
    await access.verify(new_token)
    assert source.asked == asked
    source.keys = [new]  # retired, and its tokens with it, those seen before too
    await jwks.refresh()
    await access.verify(new_token)
    with pytest.raises(InvalidToken):
        await access.verify(old_token)


async def test_a_key_never_seen_is_asked_for_once_by_a_crowd(
    fleet: Fleet, access: AccessTokenVerifier, source: KeySource, clock: Clock
) -> None:
    new = generate_key()
    source.keys.append(new)
    clock.now += MIN_INTERVAL_S
    token = fleet.access_token(key=new)
    assert access.verify_now(token) is None
    people = await asyncio.gather(*(access.verify(token) for _ in range(50)))
    assert len(set(people)) == 1
    assert source.asked == 2


async def test_made_up_keys_do_not_make_us_ask_again_and_again(
    fleet: Fleet, access: AccessTokenVerifier, source: KeySource, clock: Clock
) -> None:
    for _ in range(3):
        clock.now += MIN_INTERVAL_S
        flood = [access.verify(fleet.access_token(key=generate_key())) for _ in range(40)]
        assert all(isinstance(answer, InvalidToken) for answer in await asyncio.gather(*flood, return_exceptions=True))
    assert source.asked == 1 + 3
    await access.verify(fleet.access_token())


async def test_known_keys_stay_while_auth_service_is_away(
    fleet: Fleet, access: AccessTokenVerifier, source: KeySource, jwks: Jwks
) -> None:
    source.away = True
    assert not await jwks.refresh()
    assert jwks.loaded
    await access.verify(fleet.access_token())


@pytest.mark.parametrize(
    "answer",
    [None, [], {}, {"keys": []}, {"keys": "none"}, {"keys": [7]}, {"keys": [{"kty": "oct"}]}, {"keys": [{}] * 99}],
)
async def test_a_useless_key_set_is_passed_over(fleet: Fleet, answer: Any) -> None:
    answers: list[Any] = [{"keys": [fleet.access.public_jwk]}, answer]

    async def fetch() -> Any:
        return answers.pop(0)

    jwks = Jwks(fetch)
    assert not jwks.loaded
    assert await jwks.refresh()
    assert not await jwks.refresh()
    assert jwks.find(fleet.access.kid) is not None


async def test_a_key_of_a_kind_that_we_do_not_know_spoils_no_other(fleet: Fleet) -> None:
    async def fetch() -> Any:
        return {"keys": [{"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}, fleet.access.public_jwk]}

    jwks = Jwks(fetch)
    assert await jwks.refresh()
    assert jwks.find(fleet.access.kid) is not None


async def test_a_source_that_says_it_is_away_by_a_problem_is_away(fleet: Fleet) -> None:
    async def fetch() -> Any:
        raise ServiceUnavailable

    jwks = Jwks(fetch)
    assert not await jwks.refresh()
    assert await jwks.key(fleet.access.kid) is None


async def test_before_the_keys_are_loaded_nobody_is_ready(fleet: Fleet, source: KeySource, clock: Clock) -> None:
    jwks = Jwks(source.fetch, clock=clock)
    access = AccessTokenVerifier(jwks, public_url=PUBLIC_URL)
    verifier = fleet.verifier("chat", access)
    assert (access.loaded, verifier.loaded) == (False, False)
    running = asyncio.create_task(jwks.run())
    await until(lambda: verifier.loaded)
    running.cancel()


async def test_a_development_issuer_is_believed_where_the_trust_file_lists_one(
    fleet: Fleet, jwks: Jwks, ann: Principal
) -> None:
    token = fleet.access_token(ann, key=fleet.developer, issuer="flotilla-development")
    trust = fleet.development_trust()
    for keys in (jwks, None):
        access = AccessTokenVerifier(keys, public_url=PUBLIC_URL, trust=lambda: trust)
        assert await access.verify(token) == replace(ann, issuer="flotilla-development")
        with pytest.raises(InvalidToken):
            await access.verify(fleet.access_token(key=fleet.developer))  # never under auth-service's name
        with pytest.raises(InvalidToken):
            await access.verify(fleet.access_token(issuer="flotilla-development"))
    plain = fleet.trust()
    with pytest.raises(InvalidToken):
        await AccessTokenVerifier(jwks, public_url=PUBLIC_URL, trust=lambda: plain).verify(token)
