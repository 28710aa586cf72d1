"""The dependencies that only tasks-service's path operations name; shared/deps.py has the rest."""

from typing import Annotated

from shared.background.listen_notify import Listener
from shared.deps import resource
from shared.web.health import HealthChecks
from tasks_service.settings import TasksSettings

HealthDep = Annotated[HealthChecks, resource(HealthChecks)]
ListenerDep = Annotated[Listener, resource(Listener)]
Settings = Annotated[TasksSettings, resource(TasksSettings)]
