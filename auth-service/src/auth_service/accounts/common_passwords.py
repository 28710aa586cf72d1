"""The passwords that are tried first by anyone who guesses, as a list in this package: nothing is asked of a network.

data/README.md says where the list is from. A password is compared by its folded form, because `P@ssw0rd2024!` is
guessed as early as `password`.
"""

import gzip
import unicodedata
from functools import cache
from importlib.resources import files
from typing import Final

_LOOK_ALIKES: Final = str.maketrans("@4310!$57", "aaeioisst")
_FEWEST_CHARACTERS: Final = 4
"""Different ones; fewer are a repetition such as `Aa1Aa1Aa1`."""
_SHORTEST_WORD: Final = 4


def is_common(password: str) -> bool:
    """Whether the password is on the list, is one of it with digits or signs around it, or repeats a few characters."""
    folded = unicodedata.normalize("NFKC", password).casefold()
    return len(set(folded)) < _FEWEST_CHARACTERS or any(_is_listed(form) for form in (folded, _word_in(folded)))


def _word_in(folded: str) -> str:
    """From the first letter to the last one."""
    letters = [position for position, character in enumerate(folded) if character.isalpha()]
    return folded[letters[0] : letters[-1] + 1] if letters else ""


def _is_listed(form: str) -> bool:
    if len(form) < _SHORTEST_WORD:
        return False
    readable = form.translate(_LOOK_ALIKES)
    repeated = readable[: (readable * 2).find(readable, 1)]  # the part that it repeats; all of it if none
    return len(repeated) < _SHORTEST_WORD or not _listed().isdisjoint((readable, repeated))


@cache
def _listed() -> frozenset[str]:
    compressed = files("auth_service.accounts").joinpath("data", "common-passwords.txt.gz").read_bytes()
    return frozenset(gzip.decompress(compressed).decode().translate(_LOOK_ALIKES).split())
