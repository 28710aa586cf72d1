"""orders-service on a real socket over PostgreSQL."""

import pytest

from orders_service.app import service as orders
from shared.app import Service

pytest_plugins = ["shared.testing.plugin"]


@pytest.fixture(scope="session")
def service() -> Service:
    return orders
