"""What the gateway reads beside the settings that every service has."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from shared.settings import Section, ServiceSettings

_DEVELOPMENT_SCALE = 100


class LimitSettings(Section):
    scale: int | None = Field(
        default=None, ge=1, description="Multiplies each limit; unset: 100 in development and testing, else 1."
    )
    anonymous: int = Field(default=100, ge=1, description="Requests an hour from an address, without a sign-in.")
    gateways: int = Field(default=1, ge=1, description="How many gateways share a limit while the cache is away.")


class AdminSettings(Section):
    host: str = Field(default="127.0.0.1", description="The address that health in detail and metrics are served on.")
    port: int = Field(default=8009, ge=0, le=65535, description="Their port; never one for clients.")


class ProxySettings(Section):
    trusted: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(), description="Whose X-Forwarded-For and -Proto are believed: the load balancer's networks."
    )
    connections: int = Field(default=512, ge=1, description="Open connections to each upstream at most.")


class GatewaySettings(ServiceSettings):
    service: ClassVar[str] = "gateway"
    default_port: ClassVar[int] = 8000

    routes_file: Path | None = Field(default=None, description="A route table instead of the fleet's own.")
    limits: LimitSettings = LimitSettings()
    admin: AdminSettings = AdminSettings()
    proxy: ProxySettings = ProxySettings()

    @property
    def limit_scale(self) -> int:
        return self.limits.scale or (_DEVELOPMENT_SCALE if self.development else 1)

    @property
    def origins(self) -> dict[str, str]:
        """The base URL of each upstream, by its name in the route table."""
        urls = self.services
        return {"auth": urls.auth_url, "users": urls.users_url, "chat": urls.chat_url, "tasks": urls.tasks_url}

    def production_faults(self) -> list[str]:
        faults = super().production_faults()
        if self.limits.scale not in (None, 1):
            faults.append(f"LIMITS__SCALE is {self.limits.scale}: limits are multiplied in development only")
        return faults
