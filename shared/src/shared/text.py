"""Text in one form: how names and free text are stored, and when two names are the same.

Everything is stored in Unicode's Normalization Form C, so that however a character is typed it is the same character.
Put the validators last, after the length, which then counts the stored form:

    FullName = Annotated[str, Field(min_length=1, max_length=200), NAME]
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Any, Final

from pydantic import BeforeValidator

from shared.field_errors import FieldRule

_BLANKS: Final = "\u115f\u1160\u2800\u3164\uffa0"  # letters and symbols that fonts draw as nothing
_SPACES: Final = re.compile(r"[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")  # category Zs
_UNPRINTED: Final = re.compile(rf"[\u034f\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef{_BLANKS}]")
# Embeddings, overrides and isolates change the order of all text up to their end, which may never come.
_REORDERING: Final = re.compile(r"[\u202a-\u202e\u2066-\u2069]")

ONE_LINE: Final = FieldRule("one_line", "Must be one line without control characters.")
CONTROL_CHARACTERS: Final = FieldRule("control_characters", "Must not contain control characters besides line breaks.")
REORDERING_CHARACTERS: Final = FieldRule(
    "reordering_characters", "Must not contain characters that change the direction of text (U+202A to U+2069)."
)
VISIBLE_CHARACTER: Final = FieldRule("visible_character", "Must have at least one visible character.")


def composed(value: str) -> str:
    """The value in Normalization Form C."""
    return unicodedata.normalize("NFC", value)


def one_line(value: str) -> str:
    """The value composed, with single plain spaces between words and none around them (RFC 8266, section 2.1)."""
    return _SPACES.sub(" ", composed(value)).strip(" ")


def name(value: str) -> str:
    """A name as it is stored. Raises ValueError for one that cannot be shown among other text on one line.

    Format characters may be part of it (Persian and emoji need them), but do not make it visible.
    """
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in value):
        raise ONE_LINE.broken()
    if _REORDERING.search(value):
        raise REORDERING_CHARACTERS.broken()
    if not has_visible(value):
        raise VISIBLE_CHARACTER.broken()
    return one_line(value)


def plain_text(value: str) -> str:
    """Lines of text as they are stored, without blanks around them. Raises ValueError for what cannot be shown."""
    text = composed(value.replace("\r\n", "\n"))
    if any(unicodedata.category(character) == "Cc" and character != "\n" for character in text):
        raise CONTROL_CHARACTERS.broken()
    if _REORDERING.search(text):
        raise REORDERING_CHARACTERS.broken()
    if not has_visible(text):
        raise VISIBLE_CHARACTER.broken()
    return text.strip()


def folded(value: str) -> str:
    """What two names have in common if readers take them for one: unique names are unique in this form.

    Case, width and other compatibility variants are removed (NFKC), and so are characters that do not show.
    """
    shown = _UNPRINTED.sub("", unicodedata.normalize("NFKC", value))
    shown = "".join(character for character in shown if unicodedata.category(character) != "Cf")
    return one_line(unicodedata.normalize("NFKC", shown.casefold()))


def has_visible(value: str) -> bool:
    """Whether there is a letter, number, punctuation mark or symbol with a shape of its own."""
    return any(unicodedata.category(one)[0] in "LNPS" and one not in _BLANKS for one in value)


def _of_text(change: Callable[[str], str]) -> BeforeValidator:
    """`change` for text; everything else is left to the field's own type, which refuses it."""

    def changed(value: Any) -> Any:
        return change(value) if isinstance(value, str) else value

    return BeforeValidator(changed)


NAME: Final = _of_text(name)
TEXT: Final = _of_text(composed)
PLAIN_TEXT: Final = _of_text(plain_text)
