"""Usernames and passwords in one form, so that however they are typed they are the same (RFC 8265)."""

from typing import Any, Final

from precis_i18n import get_profile
from pydantic import BeforeValidator

from shared.field_errors import FieldRule

_USERNAME: Final = get_profile("UsernameCasePreserved")
_PASSWORD: Final = get_profile("OpaqueString")

UNSEEN_CHARACTERS: Final = FieldRule(
    "unseen_characters", "Must not contain control characters or characters that do not show."
)


def username(typed: str) -> str:
    """The username in composed characters of normal width; as typed if it has characters that no username has."""
    try:
        return _USERNAME.enforce(typed)
    except UnicodeEncodeError:
        return typed


def password(typed: str) -> str:
    """The password in composed characters, with plain spaces.

    Raises ValueError for a character that another keyboard could not type again.
    """
    try:
        return _PASSWORD.enforce(typed)
    except UnicodeEncodeError:
        raise UNSEEN_CHARACTERS.broken() from None


def forms(typed: str) -> list[str]:
    """The forms of a password that a stored hash can have: the one above, and, from before or elsewhere, as typed."""
    try:
        return list(dict.fromkeys((password(typed), typed)))
    except ValueError:
        return [typed]


def _username_sent(value: Any) -> Any:
    return username(value) if isinstance(value, str) else value


def _password_sent(value: Any) -> Any:
    return password(value) if isinstance(value, str) and value else value


USERNAME: Final = BeforeValidator(_username_sent)
NEW_PASSWORD: Final = BeforeValidator(_password_sent)
