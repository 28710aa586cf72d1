"""Phone numbers and language tags in their canonical forms, with nothing left out."""

import re
from typing import Final

import langcodes
import phonenumbers

from shared.field_errors import FieldRule

PHONE_NUMBER = FieldRule(
    "phone_number",
    "Must be one international number that begins with +, such as +4930901820 or +16502530000;ext=12.",
)
PHONE_NUMBER_UNKNOWN = FieldRule("phone_number_unknown", "Must be a number that exists in its country.")
LANGUAGE_TAG = FieldRule("language_tag", "Must be a language tag such as de, pt-BR or ca-ES-valencia (RFC 5646).")

# One number and nothing else: the library finds numbers in text, and drops the text. Digits may be of any script.
_NUMBER: Final = re.compile(
    r"[+\uff0b][\d\s().\-\u2010-\u2015]+(?P<extension>[;, ]*(ext(ension|n)?[.=:]?|x|#)\s*\d+)?", re.IGNORECASE
)
_TAG: Final = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")  # RFC 5646, section 2.1; the library also takes `_`


def phone_number(value: str) -> str:
    """E.164, with the extension as RFC 3966 has it: +16502530000;ext=123. Raises ValueError."""
    shape = _NUMBER.fullmatch(value.strip())
    try:
        number = phonenumbers.parse(value)
    except phonenumbers.NumberParseException:
        shape = None
    if shape is None or bool(shape["extension"]) != bool(number.extension):
        raise PHONE_NUMBER.broken()
    if not phonenumbers.is_valid_number(number):
        raise PHONE_NUMBER_UNKNOWN.broken()
    plain = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return f"{plain};ext={number.extension}" if number.extension else plain


def language_tag(value: str) -> str:
    """The tag with its usual case, and with deprecated parts replaced (RFC 5646). Raises ValueError."""
    try:
        if _TAG.fullmatch(value):
            return langcodes.standardize_tag(value)
    except ValueError:
        pass
    raise LANGUAGE_TAG.broken()
