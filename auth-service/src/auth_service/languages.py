"""The languages of pages and mails, and which of them a request prefers."""

from typing import Final

LANGUAGES: Final = ("en", "de", "es", "fr")
"""The first one is used where a person asks for none of them."""


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
