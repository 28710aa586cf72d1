"""What was verified once is remembered, so that a token's next request costs a look-up instead of a signature."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Known(Generic[T]):
    caller: T
    keys: object
    ends: float


class VerifiedTokens(Generic[T]):
    """Callers by token: at most `size`, each until its token ends or the keys change.

    Says nothing about revocation: `Revocations.admit` is asked on every request.
    """

    def __init__(self, size: int, *, clock: Callable[[], float] = time.time) -> None:
        self._size, self._clock = size, clock
        self._known: OrderedDict[bytes, _Known[T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, token: str, keys: object) -> T | None:
        """The caller of a token that was verified by equal `keys`; None for any other."""
        digest = _digest(token)
        known = self._known.get(digest)
        if known is None:
            return None
        if self._clock() >= known.ends or known.keys != keys:
            del self._known[digest]
            return None
        self._known.move_to_end(digest)
        return known.caller

    def add(self, token: str, caller: T, *, keys: object, ends: float) -> T:
        """Remember `caller` until `ends` (epoch seconds); beyond `size` the token least recently used is forgotten."""
        self._known[_digest(token)] = _Known(caller, keys, ends)
        if len(self._known) > self._size:
            self._known.popitem(last=False)
        return caller

    def clear(self) -> None:
        self._known.clear()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
