"""Email addresses in one spelling, and the rule about domains that no mail from elsewhere reaches."""

from collections.abc import Iterator
from typing import Final

import email_validator
from email_validator import EmailNotValidError, ValidatedEmail, validate_email

from shared.field_errors import FieldError, FieldRule
from shared.settings import ServiceSettings

NOT_AN_EMAIL: Final = FieldRule("not_an_email", "Must be an email address such as ann@example.com.")
SPECIAL_USE_DOMAIN: Final = FieldRule(
    "special_use_domain", "Must not be at a special-use domain such as .local or .test (RFC 6761)."
)
ENCODED_WORD: Final = FieldRule("encoded_word", "Must not contain `=?`, which mail programs decode (RFC 2047).")

_SPECIAL_USE: Final = tuple(email_validator.SPECIAL_USE_DOMAIN_NAMES)
# The library refuses every name in its list. Here SPECIAL_USE_EMAIL_DOMAINS decides, and only for new addresses: an
# account that has one still signs in with it.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()


def parsed(address: str, *, strict: bool = True, ascii_only: bool = False) -> ValidatedEmail:
    """The address by its syntax, at any domain; no DNS lookup. `strict`: at most 64 characters before the @.

    Raises ValueError.
    """
    try:
        return validate_email(address, check_deliverability=False, allow_smtputf8=not ascii_only, strict=strict)
    except EmailNotValidError:
        raise NOT_AN_EMAIL.broken() from None


def new_address(address: str) -> str:
    """The canonical form of an address that mail can be sent to. Raises ValueError."""
    return parsed(address).normalized


def canonical(address: str) -> str:
    """The address with its domain decoded and its characters composed (Unicode NFC); case stays. Raises ValueError."""
    return parsed(address, strict=False).normalized


def mailable(address: str) -> str:
    """The address as it goes into a header and an envelope: ASCII, the domain in its IDNA form.

    Raises ValueError for a local part that not every mail server transports (RFC 6531).
    """
    found = parsed(address, ascii_only=True)
    if "=?" in found.local_part:
        raise ENCODED_WORD.broken()
    return found.ascii_email or found.normalized


def domain_errors(address: str, settings: ServiceSettings, pointer: str) -> Iterator[FieldError]:
    """The error of an address at a special-use domain (RFC 6761), unless the settings accept those."""
    domain = address.rpartition("@")[2].casefold()
    if not settings.accepts_special_use_email_domains and domain.endswith(tuple(f".{name}" for name in _SPECIAL_USE)):
        yield SPECIAL_USE_DOMAIN.at(pointer)
