"""A tenant's settings, as its admins send and see them. A setting that is null is not set: the operator's applies."""

from typing import Annotated, Final

from pydantic import AfterValidator, ConfigDict, Field

from shared.colors import carries_white_text
from shared.field_errors import FieldRule
from shared.settings import YEARS_S
from shared.text import NAME, PLAIN_TEXT
from shared.web.json_input import Input

READABLE_COLOR: Final = FieldRule("readable_color", "Must be darker: white text on it cannot be read.")


def _readable(color: str) -> str:
    """Raises ValueError for a color on which white text is hard to read."""
    if not carries_white_text(color):
        raise READABLE_COLOR.broken()
    return color.lower()


Seconds = Annotated[int, Field(ge=60, le=YEARS_S, strict=True)]
Color = Annotated[str, Field(pattern=r"^#[0-9A-Fa-f]{6}$"), AfterValidator(_readable)]
MailPart = Annotated[str, Field(min_length=1, max_length=500), PLAIN_TEXT]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]


class Branding(Input):
    """What sign-in pages and mails show beside the operator's own name."""

    name: Annotated[str, Field(min_length=1, max_length=60), NAME] | None = None
    color: Color | None = Field(default=None, description="Of buttons with white text, as `#0b5cad`.")


class MailText(Input):
    """Plain text before and after the text of a mail; no mail program makes a link of it."""

    intro: MailPart | None = None
    footer: MailPart | None = None


class TenantSettings(Input):
    """Lifetimes are in seconds and only shorten the operator's; so does `mfa_required` only add to them."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "mfa_required": True,
                "max_ttl_s": 604800,
                "branding": {"name": "Acme", "color": "#0b5cad"},
                "mail_texts": {"en": {"footer": "Acme Ltd, 1 Harbor Street"}},
            }
        }
    )

    mfa_required: Annotated[bool, Field(strict=True)] | None = Field(
        default=None, description="Members sign in with a second factor."
    )
    idle_ttl_s: Seconds | None = Field(default=None, description="An unused session ends after this time.")
    remembered_idle_ttl_s: Seconds | None = Field(default=None, description="The same with `remember_me`.")
    max_ttl_s: Seconds | None = Field(default=None, description="A session ends at the latest after this time.")
    branding: Branding | None = None
    mail_texts: Annotated[dict[Language, MailText | None], Field(max_length=20)] | None = Field(
        default=None, description="By language, as `en`."
    )
