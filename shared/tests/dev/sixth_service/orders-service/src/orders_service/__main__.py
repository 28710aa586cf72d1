from orders_service.app import service
from shared.cli import run

run(service)
