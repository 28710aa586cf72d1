"""The settings of orders-service: the shared ones, for now."""

from typing import ClassVar

from shared.settings import ServiceSettings


class OrdersSettings(ServiceSettings):
    service: ClassVar[str] = "orders"
    default_port: ClassVar[int] = 8005
