from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from auth_service.device_authorization.models import INTERVAL_S, TTL_S

_EXAMPLE: Final[dict[str, Any]] = {
    "device_code": "q3mZ0w…",
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://api.example.com/oauth2/device",
    "verification_uri_complete": "https://api.example.com/oauth2/device?user_code=WDJB-MJHT",
    "expires_in": TTL_S,
    "interval": INTERVAL_S,
}


class DeviceAuthorizationOut(BaseModel):
    """RFC 8628, section 3.2."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int = Field(default=TTL_S, description="Seconds.")
    interval: int = Field(default=INTERVAL_S, description="Seconds between two polls.")
