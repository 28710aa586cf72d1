import hashlib
from typing import Any, Final

from fastapi import Response
from pydantic import BaseModel, ConfigDict

from auth_service.signing_keys import service
from shared.deps import Conditions, Db
from shared.web.router import Router

CACHED: Final = {"Cache-Control": "public, max-age=60"}  # a next key is published for twice as long before it signs

router = Router(prefix="/oauth2", tags=["keys"])


class JwkSet(BaseModel):
    """RFC 7517, section 5."""

    model_config = ConfigDict(json_schema_extra={"example": {"keys": [{"kty": "EC", "crv": "P-256", "kid": "…"}]}})

    keys: list[dict[str, Any]]


@router.get("/jwks.json", name="read_jwks")
async def jwks(db: Db, response: Response, conditions: Conditions) -> JwkSet:
    """The public keys of access tokens (ES256) and ID tokens (RS256).

    Of each algorithm: the next key, the active one, and retired ones whose tokens may still be valid.
    """
    keys = await service.published(db)
    kids = " ".join(key["kid"] for key in keys)
    conditions.shows(hashlib.sha256(kids.encode()).hexdigest()[:16], headers=CACHED)
    response.headers.update(CACHED)
    return JwkSet(keys=keys)
