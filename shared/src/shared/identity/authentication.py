"""How and when a person proved who they are: the methods (RFC 8176), and the level that they make (NIST SP 800-63B)."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

PWD: Final = "pwd"  # noqa: S105 - the method's name: a password
OTP: Final = "otp"  # a one-time password
SWK: Final = "swk"  # a key in software, such as a synchronized passkey
HWK: Final = "hwk"  # a key in hardware
MAIL: Final = "mail"  # a link mailed to the account's address; RFC 8176 registers no name for it
USER: Final = "user"  # the device has checked the person by a PIN or biometrics
FED: Final = "fed"  # an upstream issuer has signed the person in (not in RFC 8176, which has no name for it)
MFA: Final = "mfa"  # several factors of different kinds

AAL1: Final = "aal1"  # one factor
AAL2: Final = "aal2"  # two different ones
_LEVELS: Final = (AAL1, AAL2)


@dataclass(frozen=True, slots=True)
class Authentication:
    """`methods` are the `amr` of tokens; `at` is when the person was last asked for one of them, None for now."""

    methods: frozenset[str]
    at: datetime | None = None


def reaches(acr: str | None, required: str) -> bool:
    """Whether the level `acr` is at least `required`; a token without a level reaches none."""
    return acr in _LEVELS and _LEVELS.index(acr) >= _LEVELS.index(required)


def acr_of(methods: Collection[str]) -> str:
    """The level that tokens report as `acr`."""
    return AAL2 if MFA in methods else AAL1
