from shared.cli import run
from tasks_service.app import service

run(service)
