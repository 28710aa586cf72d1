"""A tenant's settings as users-service reports them. Only fields that this release reads and accepts are stored.

A value that does not fit counts as absent: an event must not wait because one setting cannot be used.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, ValidatorFunctionWrapHandler
from pydantic.functional_validators import WrapValidator

from auth_service.languages import LANGUAGES
from shared.colors import carries_white_text
from shared.settings import YEARS_S
from shared.text import NAME, PLAIN_TEXT


def _or_absent(value: Any, validated: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validated(value)
    except ValidationError:
        return None


def _readable(color: str) -> str:
    """Raises ValueError for a color on which white text is hard to read."""
    if not carries_white_text(color):
        raise ValueError("white text needs a darker color")
    return color.lower()


def _known_languages(texts: Any) -> Any:
    return {name: texts[name] for name in LANGUAGES if name in texts} if isinstance(texts, Mapping) else texts


_OrAbsent: Final = WrapValidator(_or_absent)
_Seconds = Annotated[int | None, Field(ge=60, le=YEARS_S, strict=True), _OrAbsent]
_Text = Annotated[str | None, Field(max_length=500), PLAIN_TEXT, _OrAbsent]


class Branding(BaseModel):
    """`color`: of buttons with white text. Without a name or a color the operator's is shown."""

    name: Annotated[str | None, Field(min_length=1, max_length=60), NAME, _OrAbsent] = None
    color: Annotated[
        str | None,
        Field(pattern=r"^#[0-9A-Fa-f]{6}$"),
        AfterValidator(lambda color: color and _readable(color)),
        _OrAbsent,
    ] = None


class MailText(BaseModel):
    """Plain text before and after the text of a mail."""

    intro: _Text = None
    footer: _Text = None


class ReportedSettings(BaseModel):
    """None: the tenant has not set it."""

    mfa_required: Annotated[bool | None, Field(strict=True), _OrAbsent] = None
    idle_ttl_s: _Seconds = None
    remembered_idle_ttl_s: _Seconds = None
    max_ttl_s: _Seconds = None
    branding: Annotated[Branding | None, _OrAbsent] = None
    mail_texts: Annotated[
        dict[str, Annotated[MailText | None, _OrAbsent]] | None, BeforeValidator(_known_languages), _OrAbsent
    ] = None


def stored(reported: Mapping[str, Any]) -> dict[str, Any]:
    """What is stored of the settings in an event or a reply."""
    return ReportedSettings.model_validate(reported).model_dump(exclude_none=True)
