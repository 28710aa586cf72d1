"""The rules for a new password, with a sentence for each rule that it breaks."""

from collections.abc import Iterator

from auth_service.settings import PasswordSettings
from shared.problems import FieldError

_SHORTEST_NAME = 3  # an email such as a@example.com forbids no letter


def password_errors(
    password: str, confirmed: str, *, username: str, email: str, rule: PasswordSettings
) -> list[FieldError]:
    """Every rule that the password breaks; empty if it is acceptable."""
    errors = [FieldError(detail, code, "#/password") for code, detail in _errors(password, username, email, rule)]
    if confirmed != password:
        errors.append(FieldError("Is not the same as the password.", "passwords_differ", "#/confirm_password"))
    return errors


def _errors(password: str, username: str, email: str, rule: PasswordSettings) -> Iterator[tuple[str, str]]:
    if len(password) < rule.min_length:
        yield "password_too_short", f"Must have {rule.min_length} characters or more."
    if rule.require_classes and not _has_classes(password):
        yield "password_too_simple", "Must have an upper-case letter, a lower-case letter and a digit."
    for code, name, what in (
        ("password_contains_username", username, "the username"),
        ("password_contains_email", email.partition("@")[0], "the email's name"),
    ):
        if len(name) >= _SHORTEST_NAME and name.casefold() in password.casefold():
            yield code, f"Must not contain {what}."


def _has_classes(password: str) -> bool:
    return (
        any(character.isupper() for character in password)
        and any(character.islower() for character in password)
        and any(character.isdigit() for character in password)
    )
