"""The form of API keys: `flk_`, a public id, 256 random bits, a checksum.

    flk_7Hc2kQ9sLmXa_ + 43 characters of the secret + 6 characters of the checksum

All are letters and digits, so a double click selects a whole key. The checksum (CRC-32 of everything before it) lets
secret scanners tell a key from other text, and refuses a misspelled one without a look-up.
"""

import re
import secrets
import zlib
from dataclasses import dataclass
from typing import Final

CLIENT_ID: Final = "api-key"
"""The `client_id` of who comes by an API key."""

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_CHARS: Final = 12
_SECRET_BYTES: Final = 32
_SECRET_CHARS: Final = 43  # 62 ** 43 > 2 ** 256
_CHECKSUM_CHARS: Final = 6  # 62 ** 6 > 2 ** 32
_FORM: Final = re.compile(rf"flk_[0-9A-Za-z]{{{_ID_CHARS}}}_[0-9A-Za-z]{{{_SECRET_CHARS + _CHECKSUM_CHARS}}}", re.ASCII)

MAX_CHARS: Final = 100  # more than a key has: a longer text is none


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. `prefix` is its public part, by which a person recognizes it."""

    key: str
    prefix: str


def generate() -> NewKey:
    """A new key."""
    prefix = "flk_" + "".join(secrets.choice(_ALPHABET) for _ in range(_ID_CHARS))
    secret = _digits(int.from_bytes(secrets.token_bytes(_SECRET_BYTES), "big"), _SECRET_CHARS)
    unchecked = f"{prefix}_{secret}"
    return NewKey(unchecked + _checksum(unchecked), prefix)


def is_well_formed(key: str) -> bool:
    """Whether the text has the form and the checksum of a key; whether there is such a key is not known."""
    return _FORM.fullmatch(key) is not None and key[-_CHECKSUM_CHARS:] == _checksum(key[:-_CHECKSUM_CHARS])


def _checksum(text: str) -> str:
    return _digits(zlib.crc32(text.encode()), _CHECKSUM_CHARS)


def _digits(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
