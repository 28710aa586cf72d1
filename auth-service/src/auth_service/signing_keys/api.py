from typing import Any

from fastapi import Response
from pydantic import BaseModel, ConfigDict

from auth_service.signing_keys import service
from shared.deps import Db
from shared.web.router import Router

router = Router(prefix="/oauth2", tags=["keys"])


class JwkSet(BaseModel):
    """RFC 7517, section 5."""

    model_config = ConfigDict(json_schema_extra={"example": {"keys": [{"kty": "EC", "crv": "P-256", "kid": "…"}]}})

    keys: list[dict[str, Any]]


@router.get("/jwks.json", name="read_jwks")
async def jwks(db: Db, response: Response) -> JwkSet:
    """The public keys of access tokens: the next one, the active one, and retired ones whose tokens may still live."""
    response.headers["Cache-Control"] = "public, max-age=60"
    return JwkSet(keys=await service.published(db))
