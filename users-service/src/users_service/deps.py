"""The dependencies that only users-service's path operations name; shared/deps.py has the rest."""

from typing import Annotated

from shared.deps import ExampleId, resource
from users_service.settings import UsersSettings

TenantId = ExampleId
FileId = ExampleId
Settings = Annotated[UsersSettings, resource(UsersSettings)]
