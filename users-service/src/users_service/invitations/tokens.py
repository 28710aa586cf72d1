"""The secret of an invitation: it names the tenant, so that looking it up reads no other tenant's rows."""

import base64
import binascii
import hashlib
import secrets
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class InvitationToken:
    """base64url(tenant's id ‖ 256 random bits)."""

    text: str
    tenant_id: UUID

    @classmethod
    def new(cls, tenant_id: UUID) -> Self:
        secret = tenant_id.bytes + secrets.token_bytes(_SECRET_BYTES)
        return cls(base64.urlsafe_b64encode(secret).decode(), tenant_id)

    @classmethod
    def parsed(cls, text: str) -> Self:
        """Raises ValueError for what no invitation was ever sent with."""
        try:
            content = base64.b64decode(text, altchars=b"-_", validate=True)
        except binascii.Error:
            raise ValueError("the token is not base64url") from None
        if len(content) != 16 + _SECRET_BYTES:
            raise ValueError("the token has another length")
        return cls(text, UUID(bytes=content[:16]))

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.text.encode()).digest()
