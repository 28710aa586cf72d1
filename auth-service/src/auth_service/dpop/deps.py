"""The DPoP proof of a request, as a dependency of the endpoints that bind tokens to its key."""

from typing import Annotated, Final

from fastapi import Depends, Header, Request, Response

from auth_service.deps import KeyringDep, Settings
from auth_service.dpop.nonces import is_nonce, nonce
from auth_service.keyring import Keyring
from auth_service.oauth_errors import OAuthError
from auth_service.settings import AuthSettings
from shared.identity.dpop import InvalidDpopProof, Proof, verify_proof
from shared.problems import raises

_NONCE: Final = "DPoP-Nonce"

DESCRIPTION: Final = "A proof of the key that the tokens are bound to (RFC 9449)."
PARAMETER: Final = {"name": "DPoP", "in": "header", "schema": {"type": "string"}, "description": DESCRIPTION}
"""The header in the OpenAPI document of an operation that reads its request itself."""


REFUSALS: Final = (
    OAuthError("invalid_dpop_proof", "The proof is not valid."),
    OAuthError("use_dpop_nonce", f"Sign the proof with the nonce in {_NONCE}."),
)


@raises(*REFUSALS)
async def dpop_proof(
    request: Request,
    response: Response,
    keyring: KeyringDep,
    settings: Settings,
    _: Annotated[str | None, Header(alias="DPoP", description=DESCRIPTION)] = None,
) -> Proof | None:
    """The request's proof, as `proof_of` says; the answer carries the nonce for the client's next one."""
    proof = proof_of(request, keyring, settings)
    if proof is not None:
        response.headers.update(next_nonce(keyring))
    return proof


def next_nonce(keyring: Keyring) -> dict[str, str]:
    """The header with the nonce for the client's next proof."""
    return {_NONCE: nonce(keyring)}


def proof_of(request: Request, keyring: Keyring, settings: AuthSettings) -> Proof | None:
    """The valid proof of the request, which may have been used before; None without a DPoP header.

    Raises OAuthError.
    """
    dpop = request.headers.get("dpop")
    if dpop is None:
        return None
    if len(request.headers.getlist("dpop")) > 1:
        raise OAuthError("invalid_dpop_proof", "The request carries more than one DPoP header.")
    try:
        proof = verify_proof(dpop, method=request.method, url=f"{settings.public_url}{request.url.path}")
    except InvalidDpopProof as problem:
        raise OAuthError("invalid_dpop_proof", problem.detail) from None
    if proof.nonce is None or not is_nonce(proof.nonce, keyring):
        described = f"Sign the proof with the nonce in {_NONCE}."
        raise OAuthError("use_dpop_nonce", described, headers=next_nonce(keyring))
    return proof


DpopProof = Annotated[Proof | None, Depends(dpop_proof)]
