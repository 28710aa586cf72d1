"""The scopes that orders-service owns."""

from typing import Final

from shared.identity.scopes import EVERY_ROLE, Scope

SCOPES: Final = [
    Scope("orders:read", "Read the tenant's orders.", "orders", EVERY_ROLE),
    Scope("orders:write", "Place orders.", "orders", EVERY_ROLE),
]
