"""The dependencies that only tasks-service's path operations name; shared/deps.py has the rest."""

from typing import Annotated

from shared.deps import resource
from shared.web.health import HealthChecks
from tasks_service.notices import Notices
from tasks_service.settings import TasksSettings

HealthDep = Annotated[HealthChecks, resource(HealthChecks)]
NoticesDep = Annotated[Notices, resource(Notices)]
Settings = Annotated[TasksSettings, resource(TasksSettings)]
