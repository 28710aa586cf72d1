"""PostgreSQL's text search configurations by language."""

from typing import Final

import langcodes

SIMPLE: Final = "simple"
"""Words as they are: for languages that PostgreSQL cannot stem."""

# Those that every supported release of PostgreSQL has.
_CONFIGURATIONS: Final = {
    "ar": "arabic", "hy": "armenian", "eu": "basque", "ca": "catalan", "da": "danish", "nl": "dutch", "en": "english",
    "fi": "finnish", "fr": "french", "de": "german", "el": "greek", "hi": "hindi", "hu": "hungarian",
    "id": "indonesian", "ga": "irish", "it": "italian", "lt": "lithuanian", "ne": "nepali", "no": "norwegian",
    "nb": "norwegian", "nn": "norwegian", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian",
    "es": "spanish", "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip


def configuration(locale: str | None) -> str:
    """The configuration for a language tag (BCP 47)."""
    language = langcodes.get(locale).language if locale else None
    return _CONFIGURATIONS.get(language or "", SIMPLE)
