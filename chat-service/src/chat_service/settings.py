"""What chat-service reads beyond the shared settings."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from shared.settings import Section, ServiceSettings


class SocketSettings(Section):
    heartbeat_s: float = Field(default=25, gt=0, description="How often a connection is pinged.")
    answer_s: float = Field(default=10, gt=0, description="How long a ping may stay unanswered.")
    max_pending_bytes: int = Field(
        default=512 * 1024, ge=1024, description="The unsent bytes at which a client is too slow (4008)."
    )
    stalled_s: float = Field(default=10, gt=0, description="How long a client may read nothing at all (4008).")
    send_buffer_bytes: int = Field(default=128 * 1024, ge=4096, description="The kernel's send buffer of a connection.")


class PresenceSettings(Section):
    grace_s: float = Field(default=5, ge=0, description="How long a person stays present after a close.")
    expires_s: float = Field(default=10, gt=0, description="When the entries of a dead replica expire.")


class ChatSettings(ServiceSettings):
    service: ClassVar[str] = "chat"
    default_port: ClassVar[int] = 8003
    calls: ClassVar[tuple[str, ...]] = ("users",)
    follows: ClassVar[tuple[str, ...]] = ("auth", "users")
    production_needs: ClassVar[Mapping[str, str]] = {
        **ServiceSettings.production_needs,
        "IDENTITY__JWKS_URL": "sockets could not be renewed",
        "REDIS_URL": "replicas would not see each other's presence",
    }

    socket: SocketSettings = SocketSettings()
    presence: PresenceSettings = PresenceSettings()
    poll_s: float = Field(default=1.0, gt=0, description="How often missed hints are looked for in PostgreSQL.")
