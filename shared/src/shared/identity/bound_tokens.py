"""Tokens that are bound to a key, at a service that clients reach without the fleet's gateway (RFC 9449, section 7)."""

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import quote

from fastapi.requests import HTTPConnection

from shared.identity.dpop import InvalidDpopProof, Proof, verify_proof
from shared.identity.principal import Principal
from shared.identity.used_proofs import UsedProofs

SCHEME: Final = "dpop"

VerifyBound = Callable[[str, str], Awaitable[Principal]]
"""The person by a token and the thumbprint of the key that a proof has shown. Raises InvalidToken."""


class BoundTokens:
    """Verifies the proof of each request, for the URL at which clients reach the service, and accepts it once.

    `url` is the scheme and host of that URL, with the path that a proxy removes, if any. Each process remembers the
    proofs that it has accepted; several processes of a service do not share that memory.
    """

    def __init__(self, url: str, verify: VerifyBound) -> None:
        self._url, self._verify = url.rstrip("/"), verify
        self._used = UsedProofs()

    async def caller(self, connection: HTTPConnection, token: str) -> Principal:
        """The person, whose key has signed this request. Raises InvalidDpopProof, InvalidToken, ServiceUnavailable."""
        proof = self._proof(connection, token)
        principal = await self._verify(token, proof.jkt)
        self._used.use(proof)
        return principal

    def _proof(self, connection: HTTPConnection, token: str) -> Proof:
        proofs = connection.headers.getlist("dpop")
        if len(proofs) != 1:
            raise InvalidDpopProof("The request must carry one DPoP header.")
        scope = connection.scope
        raw_path: bytes | None = scope.get("raw_path")
        path = quote(scope["path"]) if raw_path is None else raw_path.decode("latin-1")
        method: str = scope.get("method", "GET")  # a WebSocket's handshake is a GET
        return verify_proof(proofs[0], method=method, url=f"{self._url}{path}", access_token=token)
