"""The dependencies that only chat-service's path operations name; shared/deps.py has the rest."""

from typing import Annotated

from chat_service.settings import ChatSettings
from shared.deps import ExampleId, resource

RoomId = ExampleId
NotificationId = ExampleId
Settings = Annotated[ChatSettings, resource(ChatSettings)]
