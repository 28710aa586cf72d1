"""Password hashes that other systems have made: verified until the person's next sign-in, which replaces them.

    bcrypt    $2b$12$… (also $2a$, $2y$)                     bcrypt$$2b$12$…, bcrypt_sha256$$2b$12$… (Django)
    PBKDF2    $pbkdf2-sha256$29000$salt$hash (passlib)       pbkdf2_sha256$870000$salt$hash (Django)
    scrypt    $scrypt$ln=16,r=8,p=1$salt$hash (passlib)      scrypt$16384$salt$8$1$hash (Django)
    argon2    $argon2id$…, $argon2i$…, $argon2d$…            argon2$argon2id$… (Django)

Their costs are bounded, because an imported hash determines the cost of each sign-in.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Final

import bcrypt
from argon2 import extract_parameters
from argon2.exceptions import InvalidHashError

_MAX_ITERATIONS: Final = 5_000_000
_MAX_MEMORY_BYTES: Final = 256 * 1024 * 1024
_MAX_BCRYPT_COST: Final = 15
_BCRYPT_BYTES: Final = 72  # what the algorithm reads of a password

_MAX_PASSES: Final = 20
_DJANGO_ARGON2: Final = "argon2$"

_BCRYPT: Final = re.compile(r"(bcrypt\$|bcrypt_sha256\$)?(\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53})")
_PBKDF2_PASSLIB: Final = re.compile(r"\$pbkdf2-(sha256|sha512)\$(\d{1,8})\$([./A-Za-z0-9]*)\$([./A-Za-z0-9]+)")
_PBKDF2_DJANGO: Final = re.compile(r"pbkdf2_(sha1|sha256)\$(\d{1,8})\$([^$]*)\$([+/=A-Za-z0-9]+)")
_SCRYPT_PASSLIB: Final = re.compile(
    r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,3}),p=(\d{1,3})\$([+/A-Za-z0-9]*)\$([+/A-Za-z0-9]+)"
)
_SCRYPT_DJANGO: Final = re.compile(r"scrypt\$(\d{1,8})\$([^$]*)\$(\d{1,3})\$(\d{1,3})\$([+/=A-Za-z0-9]+)")

Matches = Callable[[bytes], bool]


def normalized(stored: str) -> str:
    """The hash as it is stored: one of argon2 without Django's prefix."""
    return stored.removeprefix(_DJANGO_ARGON2[:-1]) if stored.startswith(f"{_DJANGO_ARGON2}argon2") else stored


def is_supported(stored: str) -> bool:
    """Whether a sign-in can verify this hash at an acceptable cost."""
    return _is_argon2(stored) or _verifier(stored) is not None


def is_imported(stored: str) -> bool:
    """Whether the hash is not one of argon2."""
    return bool(stored) and not stored.startswith("$argon2")


def matches(stored: str, password: str) -> bool:
    """Whether the password has this hash; False also for a hash that is not supported."""
    verify = _verifier(stored)
    return verify is not None and verify(password.encode("utf-8", "surrogatepass"))


def _is_argon2(stored: str) -> bool:
    try:
        parameters = extract_parameters(stored)
    except InvalidHashError:
        return False
    return parameters.memory_cost * 1024 <= _MAX_MEMORY_BYTES and parameters.time_cost <= _MAX_PASSES


def _verifier(stored: str) -> Matches | None:
    for pattern, made in _KINDS:
        match = pattern.fullmatch(stored)
        if match is not None:
            try:
                return made(match)
            except (ValueError, binascii.Error):
                return None
    return None


def _by_bcrypt(match: re.Match[str]) -> Matches | None:
    if int(match[3]) > _MAX_BCRYPT_COST:
        return None
    stored = match[2].encode()
    if match[1] == "bcrypt_sha256$":
        return lambda password: bcrypt.checkpw(hashlib.sha256(password).hexdigest().encode(), stored)
    return lambda password: bcrypt.checkpw(password[:_BCRYPT_BYTES], stored)


def _by_pbkdf2(name: str, iterations: int, salt: bytes, digest: bytes) -> Matches | None:
    if not 0 < iterations <= _MAX_ITERATIONS:
        return None
    return lambda password: hmac.compare_digest(
        hashlib.pbkdf2_hmac(name, password, salt, iterations, len(digest)), digest
    )


def _by_scrypt(n: int, r: int, p: int, salt: bytes, digest: bytes) -> Matches | None:
    if n < 2 or n & (n - 1) or not 0 < 128 * n * r * p <= _MAX_MEMORY_BYTES:
        return None
    return lambda password: hmac.compare_digest(
        hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=2 * _MAX_MEMORY_BYTES, dklen=len(digest)), digest
    )


def _passlib_base64(text: str) -> bytes:
    """Base64 without padding; PBKDF2's has a dot for the plus."""
    return base64.b64decode(text.replace(".", "+") + "=" * (-len(text) % 4), validate=True)


_KINDS: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Matches | None]], ...]] = (
    (_BCRYPT, _by_bcrypt),
    (_PBKDF2_PASSLIB, lambda m: _by_pbkdf2(m[1], int(m[2]), _passlib_base64(m[3]), _passlib_base64(m[4]))),
    (_PBKDF2_DJANGO, lambda m: _by_pbkdf2(m[1], int(m[2]), m[3].encode(), base64.b64decode(m[4], validate=True))),
    (
        _SCRYPT_PASSLIB,
        lambda m: _by_scrypt(1 << int(m[1]), int(m[2]), int(m[3]), _passlib_base64(m[4]), _passlib_base64(m[5])),
    ),
    (
        _SCRYPT_DJANGO,
        lambda m: _by_scrypt(int(m[1]), int(m[3]), int(m[4]), m[2].encode(), base64.b64decode(m[5], validate=True)),
    ),
)
