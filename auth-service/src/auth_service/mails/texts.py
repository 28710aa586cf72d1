"""The texts of mails by language. A text never holds markup: links and names are put into plain text."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

Purpose = Literal[
    "address_in_use",
    "email_changed",
    "password_changed",
    "reset_password",
    "reset_password_unknown",
    "verify_email",
]

LANGUAGES: Final = ("en", "de", "es", "fr")
"""The first one is used where a person asks for none of them."""


class Text(BaseModel):
    """A subject and a text with placeholders such as `{link}`."""

    model_config = ConfigDict(extra="forbid")

    subject: str
    text: str


_Texts: Final = TypeAdapter(dict[Purpose, Text])


@cache
def texts(language: str) -> Mapping[Purpose, Text]:
    """The texts of one of LANGUAGES."""
    content = files("auth_service.mails").joinpath("languages", f"{language}.toml").read_text(encoding="utf-8")
    return _Texts.validate_python(tomllib.loads(content))


def preferred(accept_language: str | None) -> str:
    """The best of LANGUAGES for an Accept-Language header (RFC 9110, section 12.5.4); the first one without a match."""
    wanted = []
    for position, item in enumerate((accept_language or "")[:500].split(",")):
        tag, _, weight = item.strip().partition(";")
        language = tag.strip().lower().partition("-")[0]
        if language in LANGUAGES and (quality := _quality(weight)) > 0:
            wanted.append((-quality, position, language))
    return min(wanted)[2] if wanted else LANGUAGES[0]


def _quality(weight: str) -> float:
    name, _, value = weight.strip().partition("=")
    if not name:
        return 1.0
    try:
        return float(value) if name.strip() == "q" else 0.0
    except ValueError:
        return 0.0
