"""orders-service: what the members of a tenant order."""

from orders_service.orders.api import router as orders
from orders_service.scopes import SCOPES
from orders_service.settings import OrdersSettings
from shared.app import Service

service = Service(
    name="orders",
    package="orders_service",
    settings=OrdersSettings,
    description="Orders of a tenant.",
    routers=[orders],
    scopes=SCOPES,
)
