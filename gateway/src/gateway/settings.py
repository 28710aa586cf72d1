"""What the gateway reads beside the settings that every service has."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from shared.limits import valid_cache_url
from shared.settings import HttpUrl, Section, ServiceName, ServiceSettings

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
        default=(), description="Whose X-Forwarded-For is believed: the load balancer's networks."
    )
    connections: int = Field(default=512, ge=1, description="Open connections to each replica at most.")


class GatewaySettings(ServiceSettings):
    service: ClassVar[str] = "gateway"
    default_port: ClassVar[int] = 8000
    calls: ClassVar[tuple[str, ...]] = ("auth",)

    routes_file: Path | None = Field(default=None, description="A route table instead of the fleet's own.")
    limits: LimitSettings = LimitSettings()
    admin: AdminSettings = AdminSettings()
    proxy: ProxySettings = ProxySettings()
    upstreams: dict[ServiceName, tuple[HttpUrl, ...]] = Field(
        default={},
        description="The URLs of a service's replicas where no balancer stands before them, as a JSON list: "
        'UPSTREAMS__CHAT=["http://chat-1:8003", "http://chat-2:8003"]. Without an entry: SERVICES__CHAT alone.',
    )

    _redis_url = field_validator("redis_url")(valid_cache_url)

    @property
    def limit_scale(self) -> int:
        return self.limits.scale or (_DEVELOPMENT_SCALE if self.development else 1)

    @property
    def origins(self) -> dict[str, tuple[str, ...]]:
        """The base URLs of each upstream's replicas, by its name in the route table."""
        balanced = {name: (url,) for name, url in self.services.items()}
        return balanced | {name: replicas for name, replicas in self.upstreams.items() if replicas}

    def production_faults(self) -> list[str]:
        faults = super().production_faults()
        if self.limits.scale not in (None, 1):
            faults.append(f"LIMITS__SCALE is {self.limits.scale}: limits are multiplied in development only")
        if self.identity.jwks_url is None:
            faults.append("IDENTITY__JWKS_URL is not set: no token could be verified")
        if missing := {"auth", "users"}.difference(self.revocations.feeds):
            faults.append(f"REVOCATIONS__FEEDS lacks {', '.join(sorted(missing))}: what has ended would go on")
        if self.redis_url is None:
            faults.append("REDIS_URL is not set: limits would hold for each gateway alone")
        return faults
