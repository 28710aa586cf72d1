"""The proofs of possession (RFC 9449) that this process has accepted: each is accepted once."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from shared.identity.dpop import InvalidDpopProof, Proof

USED_BEFORE: Final = "The proof was used before (`jti`)."
REMEMBERED: Final = 50_000  # about 150 bytes each


class UsedProofs:
    """Remembers at most `size` proofs, each until it is too old to be accepted anyway.

    Beyond `size` the oldest is forgotten, and would be accepted a second time: such a replay needs the proof and its
    access token, and can only repeat the same method and URL within the 60 s that a proof is valid for.
    """

    def __init__(self, size: int = REMEMBERED, clock: Callable[[], float] = time.time) -> None:
        self._size, self._clock = size, clock
        self._ends_at: OrderedDict[bytes, int] = OrderedDict()

    def use(self, proof: Proof) -> None:
        """Accept the proof. Raises InvalidDpopProof if this process has accepted it before."""
        now, ends_at = self._clock(), self._ends_at
        if proof.digest in ends_at:
            raise InvalidDpopProof(USED_BEFORE)
        while ends_at and (len(ends_at) >= self._size or next(iter(ends_at.values())) < now):
            ends_at.popitem(last=False)
        ends_at[proof.digest] = proof.ends_at
