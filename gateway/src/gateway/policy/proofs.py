"""DPoP proofs at the edge (RFC 9449): each is verified for its request, and accepted once."""

import time
from collections.abc import Callable

from shared.identity import used_proofs
from shared.identity.dpop import InvalidDpopProof, Proof, verify_proof
from shared.identity.used_proofs import USED_BEFORE, UsedProofs
from shared.limits import CacheError, PipelinedConnection


class FleetUsedProofs:
    """Accepts each proof once, over all gateways while the cache answers.

    A gateway also remembers the proofs that it accepted itself. While the cache is unavailable (a look-up waits 50 ms
    at most) that is all there is: a proof is accepted once by each gateway, and again by the same one after 50,000
    newer proofs. That is accepted because refusing every request during an outage costs more.
    """

    def __init__(self, cache: PipelinedConnection | None, clock: Callable[[], float] = time.time) -> None:
        self._cache, self._clock = cache, clock
        self._own = UsedProofs(used_proofs.REMEMBERED, clock)

    async def use(self, proof: Proof) -> None:
        """Accept the proof. Raises InvalidDpopProof if it was accepted before."""
        self._own.use(proof)
        if not await self._is_first(proof):
            raise InvalidDpopProof(USED_BEFORE)

    async def _is_first(self, proof: Proof) -> bool:
        """Whether no other gateway has accepted the proof, as far as the cache can say."""
        if self._cache is None:
            return True
        left_ms = max(1, int((proof.ends_at - self._clock()) * 1000))
        try:
            return await self._cache.call("SET", b"dpop:" + proof.digest, b"", "NX", "PX", left_ms) is not None
        except CacheError:
            return True


def proof_of(header: bytes | None, *, method: str, url: str, access_token: str) -> Proof:
    """The valid proof in a request's `DPoP` header; it may have been used before. Raises InvalidDpopProof."""
    if header is None:
        raise InvalidDpopProof("The request carries no DPoP header.")
    return verify_proof(header.decode("latin-1"), method=method, url=url, access_token=access_token)
