"""chat-service: rooms, messages, presence and notifications, by HTTP and over one WebSocket."""

from chat_service.messages.api import router as messages
from chat_service.notifications.api import router as notifications
from chat_service.notifications.handlers import handlers as notification_handlers
from chat_service.people.handlers import handlers as people_handlers
from chat_service.presence.api import router as presence
from chat_service.resources import open_resources
from chat_service.rooms.api import router as rooms
from chat_service.rooms.handlers import handlers as room_handlers
from chat_service.scopes import SCOPES
from chat_service.settings import ChatSettings
from chat_service.socket.api import router as socket
from shared.app import Service
from shared.events import EventHandlers
from shared.events.tenant_erasure import handlers as erased_tenants

service = Service(
    name="chat",
    package="chat_service",
    settings=ChatSettings,
    description="Rooms, messages in one durable order, presence and notifications.",
    routers=[rooms, messages, presence, notifications, socket],
    scopes=SCOPES,
    handlers=EventHandlers(people_handlers, room_handlers, notification_handlers, erased_tenants),
    open=open_resources,
)
