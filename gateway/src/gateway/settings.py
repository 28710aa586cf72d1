"""The gateway's settings, in addition to those of every service."""

from collections.abc import Mapping
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from gateway.routes import file
from shared.settings import HttpUrl, MountedFile, Section, ServiceName, ServiceSettings

_DEVELOPMENT_SCALE = 100


class LimitSettings(Section):
    scale: int | None = Field(
        default=None, ge=1, description="Multiplies each limit; unset: 100 in development and testing, else 1."
    )
    anonymous: int = Field(default=100, ge=1, description="Requests an hour from one address without a valid token.")
    gateways: int = Field(
        default=1, ge=1, description="How many gateways share each limit while the cache is unavailable."
    )


class AdminSettings(Section):
    host: str = Field(default="127.0.0.1", description="The address that serves detailed health, metrics and settings.")
    port: int = Field(default=8009, ge=0, le=65535, description="The admin port; it must not be reachable by clients.")


class ProxySettings(Section):
    trusted: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(), description="Networks of load balancers whose X-Forwarded-For is believed."
    )
    connections: int = Field(default=512, ge=1, description="The maximum number of open connections to each replica.")


class PortalSettings(Section):
    refresh_s: float = Field(
        default=60, gt=0, description="How often the services' OpenAPI documents are read, to merge them again."
    )


class GatewaySettings(ServiceSettings):
    service: ClassVar[str] = "gateway"
    default_port: ClassVar[int] = 8000
    calls: ClassVar[tuple[str, ...]] = ("auth",)
    follows: ClassVar[tuple[str, ...]] = ("auth", "users")
    needs: ClassVar[Mapping[str, str]] = {"IDENTITY__KEY_FILE": "internal tokens could not be signed"}
    production_needs: ClassVar[Mapping[str, str]] = {
        "IDENTITY__JWKS_URL": "no token could be verified",
        "REDIS_URL": "each gateway would enforce limits on its own",
    }

    routes_file: Path | None = Field(default=None, description="A route table that replaces the built-in one.")
    limits: LimitSettings = LimitSettings()
    admin: AdminSettings = AdminSettings()
    portal: PortalSettings = PortalSettings()
    proxy: ProxySettings = ProxySettings()
    upstreams: dict[ServiceName, tuple[HttpUrl, ...]] = Field(
        default={},
        description="The URLs of a service's replicas if they have no load balancer, as a JSON list: "
        'UPSTREAMS__CHAT=["http://chat-1:8003", "http://chat-2:8003"]. Default: the URL in SERVICES__CHAT.',
    )

    @property
    def limit_scale(self) -> int:
        return self.limits.scale or (_DEVELOPMENT_SCALE if self.development else 1)

    @property
    def origins(self) -> dict[str, tuple[str, ...]]:
        """The base URLs of each upstream's replicas, by its name in the route table."""
        balanced = {name: (url,) for name, url in self.services.items()}
        return balanced | {name: replicas for name, replicas in self.upstreams.items() if replicas}

    def mounted_files(self) -> list[MountedFile]:
        return [("ROUTES_FILE", self.routes_file, partial(file.parse, upstreams=self.origins))]

    def production_errors(self) -> list[str]:
        errors = super().production_errors()
        if self.limits.scale not in (None, 1):
            errors.append(f"LIMITS__SCALE is {self.limits.scale}: limits are multiplied in development only")
        return errors
