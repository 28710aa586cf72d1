"""The scopes that chat-service owns."""

from typing import Final

from shared.identity.scopes import EVERY_ROLE, Scope

SCOPES: Final = [
    Scope("chat:read", "Read rooms and messages, and connect to the WebSocket.", "chat", EVERY_ROLE),
    Scope("chat:write", "Send messages, and open and join rooms.", "chat", EVERY_ROLE),
    Scope("chat:moderate", "Remove other people from rooms.", "chat", ("moderator", "admin")),
    Scope("notifications:read", "Read the caller's notifications.", "notifications", EVERY_ROLE),
    Scope("notifications:write", "Mark the caller's notifications as read.", "notifications", EVERY_ROLE),
]
