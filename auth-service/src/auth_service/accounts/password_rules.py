"""The rules for a new password, with a sentence for each rule that it breaks."""

from collections.abc import Iterator

from auth_service.accounts.common_passwords import is_common
from auth_service.settings import PasswordSettings
from shared.field_errors import FieldError, FieldRule

TOO_SHORT = FieldRule("password_too_short", "Must have at least {min_length} characters.")
TOO_SIMPLE = FieldRule("password_too_simple", "Must have an upper-case letter, a lower-case letter and a digit.")
COMMON = FieldRule("password_common", "Must not be a common password, nor one with digits or signs added.")
CONTAINS_USERNAME = FieldRule("password_contains_username", "Must not contain the username.")
CONTAINS_EMAIL = FieldRule("password_contains_email", "Must not contain the email's name.")
DIFFER = FieldRule("passwords_differ", "Must be the same as the password.")

_SHORTEST_NAME = 3  # an email such as a@example.com forbids no letter


def password_errors(
    password: str, confirmed: str, *, username: str, email: str, rule: PasswordSettings
) -> list[FieldError]:
    """Every rule that the password breaks; empty if it is acceptable."""
    errors = list(_errors(password, username, email, rule))
    if confirmed != password:
        errors.append(DIFFER.at("#/confirm_password"))
    return errors


def _errors(password: str, username: str, email: str, rule: PasswordSettings) -> Iterator[FieldError]:
    place = "#/password"
    if len(password) < rule.shortest:
        yield TOO_SHORT.at(place, min_length=rule.shortest)
    if rule.needs_classes and not _has_classes(password):
        yield TOO_SIMPLE.at(place)
    if is_common(password):
        yield COMMON.at(place)
    for broken, name in ((CONTAINS_USERNAME, username), (CONTAINS_EMAIL, email.partition("@")[0])):
        if len(name) >= _SHORTEST_NAME and name.casefold() in password.casefold():
            yield broken.at(place)


def _has_classes(password: str) -> bool:
    return (
        any(character.isupper() for character in password)
        and any(character.islower() for character in password)
        and any(character.isdigit() for character in password)
    )
