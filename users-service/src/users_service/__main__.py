from shared.cli import run
from users_service.app import service

run(service)
