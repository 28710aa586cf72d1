"""Usernames for people whom an issuer describes: as near to theirs as our rule allows."""

import re
import secrets
from collections.abc import Iterator
from typing import Final

from auth_service.accounts.spelling import username
from auth_service.identity_providers.exchange import UpstreamPerson

_OTHER: Final = re.compile(r"[^A-Za-z0-9_.-]+")
_MOST: Final = 27  # 32 with a hyphen and four digits
_LEAST: Final = 3
_TRIES: Final = 8


def candidates(person: UpstreamPerson) -> Iterator[str]:
    """Usernames to try in turn: the issuer's, or the address's local part, then the same with random digits."""
    base = _cleaned(person.username) or _cleaned(person.email) or "user"
    yield base
    for _ in range(_TRIES):
        yield f"{base}-{secrets.randbelow(9000) + 1000}"


def _cleaned(name: str | None) -> str | None:
    """The name in the characters of a username, without a mail domain; None if too little is left."""
    if name is None:
        return None
    kept = _OTHER.sub("-", username(name.partition("@")[0])).strip("-.")[:_MOST].rstrip("-.")
    return kept if len(kept) >= _LEAST else None
