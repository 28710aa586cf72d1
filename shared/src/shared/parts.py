"""What a running process holds: its connections, keys and followers, opened at the start and closed at the end."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cached_property, partial
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from shared.clients import PlainClient, ServiceClient
from shared.data.database import Database
from shared.events import Bus, open_bus
from shared.identity.access_tokens import AccessTokenVerifier
from shared.identity.jwks import Jwks
from shared.identity.keys import KeyInvalid, parse_private_key
from shared.identity.revocations import Revocations
from shared.identity.tokens import InternalVerifier, Signer
from shared.identity.trust import Trust, TrustInvalid, parse_trust, watch_trust
from shared.identity.verifier import Verifier
from shared.identity.watched import WatchedFile
from shared.problems import ServiceUnavailable
from shared.settings import MountedFile, ServiceSettings, variable_of
from shared.supervision import Work
from shared.web.health import Check


class MissingSetting(LookupError):
    """The process needs a setting that its environment does not have."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not set; .env.example lists all settings")


class Parts:
    """The parts of one process, each made when it is first asked for.

    Raises MissingSetting for one that the settings do not name.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self._clients: dict[str, ServiceClient] = {}
        self._plain = PlainClient()
        self.jwks = self._jwks()
        self.revocations = self._revocations()

    @cached_property
    def database(self) -> Database:
        if self.settings.database_url is None:
            raise MissingSetting("DATABASE_URL")
        return Database(self.settings)

    @cached_property
    def cache(self) -> "Redis":
        """The cache, for what may be lost: no retries and 50 ms, since it stands on a request's path."""
        if self.settings.redis_url is None:
            raise MissingSetting("REDIS_URL")
        return Redis.from_url(
            self.settings.redis_url.get_secret_value(),
            retry=Retry(NoBackoff(), 0),
            socket_timeout=0.05,
            socket_connect_timeout=0.05,
        )

    @cached_property
    def bus(self) -> Bus:
        if self.settings.bus_url is None:
            raise MissingSetting("BUS_URL")
        return open_bus(self.settings.bus_url.get_secret_value())

    @cached_property
    def signer(self) -> Signer:
        if self.settings.identity.key_file is None:
            raise MissingSetting("IDENTITY__KEY_FILE")
        return Signer.from_file(self.settings.service, self.settings.identity.key_file)

    @cached_property
    def trust(self) -> WatchedFile[Trust]:
        if self.settings.identity.trust_file is None:
            raise MissingSetting("IDENTITY__TRUST_FILE")
        return watch_trust(self.settings.identity.trust_file, development=self.settings.development)

    @cached_property
    def access_tokens(self) -> AccessTokenVerifier:
        """Checks a person's own access token."""
        trust = self.trust.current if self.settings.development else None
        return AccessTokenVerifier(self.jwks, public_url=self.settings.public_url, trust=trust)

    @cached_property
    def verifier(self) -> Verifier:
        access = self.access_tokens if self.settings.identity.accept_access_tokens else None
        return Verifier(InternalVerifier(self.settings.service, self.trust.current), access)

    def client(self, service: str) -> ServiceClient:
        """The client for calls to `service`. Raises MissingSetting where its URL is not known."""
        if service not in self._clients:
            url = self.settings.services.get(service)
            if url is None:
                raise MissingSetting(variable_of(service))
            self._clients[service] = ServiceClient(url, service, self.signer)
        return self._clients[service]

    def works(self) -> Mapping[str, Work]:
        """What keeps the parts fresh: keys and revocations are followed, where the settings name them."""
        works: dict[str, Work] = {}
        if self.jwks is not None:
            works["jwks"] = self.jwks.run
        if self.revocations is not None:
            works["revocations"] = self.revocations.run
        return works

    def checks(self) -> Mapping[str, Check]:
        """Looks at cache and broker, whose absence changes no answer: for the detailed health alone."""
        checks: dict[str, Check] = {}
        if self.settings.redis_url is not None:
            checks["cache"] = self._ping_cache
        if self.settings.bus_url is not None:
            checks["broker"] = self._ask_broker
        return checks

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()
        await self._plain.close()
        for name in ("bus", "database"):
            if name in self.__dict__:
                await self.__dict__[name].close()
        if "cache" in self.__dict__:
            await self.cache.aclose()

    def _jwks(self) -> Jwks | None:
        url = self.settings.identity.jwks_url
        return Jwks(lambda: self._plain.json(url)) if url else None

    def _revocations(self) -> Revocations | None:
        chosen = self.settings.revocations
        if not chosen.feeds:
            return None
        return Revocations(
            {name: _Feed(self, name) for name in chosen.feeds},
            interval_s=chosen.interval_s,
            stale_after_s=chosen.stale_after_s,
            on_stale=chosen.on_stale,
        )

    async def _ping_cache(self) -> str:
        await self.cache.ping()
        return "answers"

    async def _ask_broker(self) -> str:
        return f"{await self.bus.depth(self.settings.service)} waiting"


class _Feed:
    """Asks one service for what it revoked."""

    def __init__(self, parts: Parts, service: str) -> None:
        self._parts, self._service = parts, service

    async def __call__(self, after: str | None) -> Mapping[str, Any]:
        params = {} if after is None else {"after": after}
        reply = await self._parts.client(self._service).call("GET", "/internal/revocations", params=params, timeout_s=2)
        if reply.status_code != 200:
            raise ServiceUnavailable(f"The {self._service} service refused its revocations ({reply.status_code}).")
        page: Mapping[str, Any] = reply.json()
        return page


def mounted_faults(settings: ServiceSettings) -> list[str]:
    """What is wrong with the mounted files that the settings name, a line each."""
    parse_here = partial(parse_trust, development=settings.development)
    mounted: list[MountedFile] = [
        ("IDENTITY__KEY_FILE", settings.identity.key_file, parse_private_key),
        ("IDENTITY__TRUST_FILE", settings.identity.trust_file, parse_here),
        *settings.mounted_files(),
    ]
    faults = []
    for name, path, parse in mounted:
        if path is None:
            continue
        try:
            parse(path.read_bytes())
        except OSError as error:
            faults.append(f"  {name} is {path}: {error.strerror}")
        except (KeyInvalid, TrustInvalid, ValueError) as error:
            faults += [f"  {name} is {path}: {line}" for line in str(error).splitlines()]
    return faults


@asynccontextmanager
async def open_parts(settings: ServiceSettings) -> AsyncIterator[Parts]:
    parts = Parts(settings)
    try:
        yield parts
    finally:
        await parts.close()
