"""Keys: their names, their files, and the ones that are refused."""

from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from shared.identity.keys import (
    KeyInvalid,
    generate_key,
    parse_private_key,
    private_pem,
    thumbprint,
    verifying_key,
    write_private_key,
)

JWK = generate_key().public_jwk
RFC_7638_EXAMPLE = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjB"
    "ZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8"
    "KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_"
    "xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    "e": "AQAB",
    "alg": "RS256",
    "kid": "2011-04-29",
}


def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def rsa_jwk(bits: int) -> dict[str, Any]:
    return jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key(bits).public_key(), as_dict=True)


def test_the_thumbprint_is_that_of_the_standard() -> None:
    assert thumbprint(RFC_7638_EXAMPLE) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_a_public_key_is_named_by_its_thumbprint_and_reads_back() -> None:
    key = verifying_key({name: JWK[name] for name in ("kty", "crv", "x", "y")})
    assert (key.kid, key.algorithm) == (JWK["kid"], "ES256")
    assert key == verifying_key(JWK)


def test_the_type_of_the_key_pins_the_algorithm() -> None:
    edwards = jwt.algorithms.OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate().public_key(), as_dict=True)
    assert verifying_key(edwards).algorithm == "EdDSA"
    assert verifying_key({k: v for k, v in rsa_jwk(2048).items() if k != "key_ops"}).algorithm == "RS256"


@pytest.mark.parametrize(
    "jwk",
    [
        None,
        [],
        {},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": ["EC"]},
        {**JWK, "d": "AAAA"},
        {**JWK, "use": "enc"},
        {**JWK, "alg": "HS256"},
        {**JWK, "alg": "none"},
        {**JWK, "crv": "P-521"},
        {**JWK, "x": JWK["y"]},
        {**JWK, "x": 7},
        {**JWK, "x": "!"},
        {**JWK, "kid": ""},
        {**JWK, "kid": "k" * 129},
        {"kty": "OKP", "crv": "X25519", "x": JWK["x"]},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
    ],
)
def test_a_key_that_cannot_be_trusted_is_refused_without_being_shown(jwk: Any) -> None:
    with pytest.raises(KeyInvalid) as refusal:
        verifying_key(jwk)
    assert JWK["x"] not in str(refusal.value)


def test_a_short_rsa_key_is_refused() -> None:
    with pytest.raises(KeyInvalid, match="2048"):
        verifying_key(rsa_jwk(1024))


def test_a_private_key_is_written_for_its_owner_only_and_read_back(tmp_path: Path) -> None:
    path, key = tmp_path / "key.pem", generate_key()
    write_private_key(path, generate_key())
    write_private_key(path, key)
    assert path.stat().st_mode & 0o777 == 0o600
    assert parse_private_key(path.read_bytes()) == key
    assert [file.name for file in tmp_path.iterdir()] == ["key.pem"]


@pytest.mark.parametrize("pem", [b"", b"no PEM", private_pem(generate_key())[:80]])
def test_what_is_no_private_key_is_refused(pem: bytes) -> None:
    with pytest.raises(KeyInvalid):
        parse_private_key(pem)


def test_an_rsa_key_signs_with_rs256_and_reads_back_for_that_only() -> None:
    key = generate_key("RS256")
    assert (key.algorithm, key.public_jwk["alg"], key.kid) == ("RS256", "RS256", thumbprint(key.public_jwk))
    assert verifying_key(key.public_jwk).kid == key.kid
    assert parse_private_key(private_pem(key), "RS256") == key
    with pytest.raises(KeyInvalid, match="not an EC P-256 key"):
        parse_private_key(private_pem(key))
    with pytest.raises(KeyInvalid, match="not an RSA key"):
        parse_private_key(private_pem(generate_key()), "RS256")


def test_a_short_private_rsa_key_is_refused() -> None:
    short = rsa_key(1024).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(KeyInvalid, match="2048"):
        parse_private_key(short, "RS256")


def test_a_private_key_of_another_curve_is_refused() -> None:
    other = ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(KeyInvalid, match="P-256"):
        parse_private_key(other)
