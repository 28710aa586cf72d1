"""What one process opens, by type, in one lifespan: shared resources first, then the service's own; closed in reverse.

A service adds its own in one function, which its `Service(open=…)` names:

    async def open_resources(process: Process) -> None:
        storage = process.add(Storage(process.get(UsersSettings).storage_url))
        process.health.others["storage"] = storage.check
        process.run("sweeper", Sweeper(process.get(Database), storage).run)

A path operation gets a resource by a typed dependency (shared/resources.py), a background task by argument.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from shared.background import BackgroundTask, PollingLoop
from shared.clients import Clients, PlainClient
from shared.data.database import Database
from shared.events import Bus, open_bus
from shared.identity.access_tokens import AccessTokenVerifier
from shared.identity.jwks import Jwks
from shared.identity.keys import KeyInvalid, parse_private_key
from shared.identity.revocation_entries import FeedPage
from shared.identity.revocations import Revocations
from shared.identity.tokens import InternalVerifier, Signer
from shared.identity.trust import TrustInvalid, parse_trust, watch_trust
from shared.identity.verifier import Verifier
from shared.problems import ServiceUnavailable
from shared.resources import Resources
from shared.settings import MountedFile, S, ServiceSettings, SettingsInvalid, load
from shared.telemetry import metrics
from shared.web.health import Check, HealthChecks

T = TypeVar("T")


class Process:
    """A process while it opens: its resources, its background tasks, and the checks of its health."""

    def __init__(self, settings: ServiceSettings, health: HealthChecks, stack: AsyncExitStack) -> None:
        self.settings, self.health = settings, health
        self.resources = Resources()
        self.tasks: dict[str, BackgroundTask] = {}
        self._stack = stack

    def add(self, resource: T, kind: type[T] | None = None) -> T:
        """Make `resource` available by its type (or `kind`). It has nothing to close."""
        return self.resources.add(resource, kind)

    async def enter(self, context: AbstractAsyncContextManager[T]) -> T:
        """Enter a context that ends with the process."""
        return await self._stack.enter_async_context(context)

    def add_closing(self, resource: T, close: Callable[[], Awaitable[None]], kind: type[T] | None = None) -> T:
        """As `add`, for a resource whose `close` is awaited at the end."""
        self._stack.push_async_callback(close)
        return self.resources.add(resource, kind)

    def get(self, kind: type[T]) -> T:
        """An open resource. Raises MissingSetting when its setting is not set."""
        return self.resources.get(kind)

    def run(self, name: str, task: BackgroundTask) -> None:
        """Run `task` in the background once everything is open."""
        self.tasks[name] = task

    def loop(self, loop: PollingLoop) -> None:
        """Run a polling loop in the background once everything is open."""
        self.run(loop.name, loop.run)


@asynccontextmanager
async def open_process(settings: ServiceSettings, health: HealthChecks) -> AsyncIterator[Process]:
    """Open the resources that every process shares. Background tasks are collected; the caller supervises them."""
    async with AsyncExitStack() as stack:
        process = Process(settings, health, stack)
        process.add(settings)
        process.add(settings, ServiceSettings)
        process.add(health)
        process.loop(PollingLoop("metrics", metrics.sample, every_s=0))
        _open_stores(process)
        _open_identity(process)
        yield process


def _open_stores(process: Process) -> None:
    settings, resources = process.settings, process.resources
    if settings.database_url is None:
        resources.miss(Database, "DATABASE_URL")
    else:
        database = Database(settings)
        process.add_closing(database, database.close)
        process.health.before_metrics.append(partial(_measure_pools, database))
    if settings.redis_url is None:
        resources.miss(Redis, "REDIS_URL")
    else:
        cache = _connect_cache(settings.redis_url.get_secret_value())
        process.add_closing(cache, cache.aclose, Redis)
        process.health.others["cache"] = partial(_ping, cache)
    if settings.bus_url is None:
        resources.miss(Bus, "BUS_URL")
    else:
        bus = open_bus(settings.bus_url.get_secret_value())
        process.add_closing(bus, bus.close, Bus)
        process.health.others["broker"] = partial(_bus_depth, bus, settings.service)


def _open_identity(process: Process) -> None:
    settings = process.settings
    jwks = _open_jwks(process)
    if settings.identity.key_file is None:
        process.resources.miss(Signer, "IDENTITY__KEY_FILE")
        process.resources.miss(Clients, "IDENTITY__KEY_FILE")
    else:
        signer = process.add(Signer.from_file(settings.service, settings.identity.key_file))
        clients = Clients(settings.services, signer)
        process.add_closing(clients, clients.close)
    _open_verifiers(process, jwks)
    _open_revocations(process)


def _open_jwks(process: Process) -> Jwks | None:
    url = process.settings.identity.jwks_url
    if url is None:
        return None
    client = PlainClient()
    jwks = process.add_closing(Jwks(lambda: client.json(url)), client.close)
    process.run("jwks", jwks.run)
    process.health.required["keys"] = loaded(lambda: jwks.loaded, "The keys are not loaded yet.")
    return jwks


def _open_verifiers(process: Process, jwks: Jwks | None) -> None:
    settings, identity = process.settings, process.settings.identity
    if identity.trust_file is None:
        process.resources.miss(Verifier, "IDENTITY__TRUST_FILE")
        process.add(AccessTokenVerifier(jwks, public_url=settings.public_url))
        return
    trust = watch_trust(identity.trust_file, development=settings.development)
    development_trust = trust.current if settings.development else None
    access = process.add(AccessTokenVerifier(jwks, public_url=settings.public_url, trust=development_trust))
    internal = InternalVerifier(settings.service, trust.current)
    process.add(Verifier(internal, access if identity.accept_access_tokens else None))


def _open_revocations(process: Process) -> None:
    chosen = process.settings.revocations
    revocations = process.add(
        Revocations(
            {name: partial(_read_feed, process.get(Clients), name) for name in chosen.feeds},
            interval_s=chosen.interval_s,
            stale_after_s=chosen.stale_after_s,
            on_stale=chosen.on_stale,
        )
    )
    if chosen.feeds:
        process.run("revocations", revocations.run)
        process.health.required["revocations"] = loaded(
            lambda: revocations.loaded, "The revocations are not loaded yet."
        )
        process.health.others["revocations_age"] = loaded(
            lambda: not revocations.stale, "The feeds have not responded for too long.", "fresh"
        )


async def _read_feed(clients: Clients, service: str, after: str | None) -> FeedPage:
    """One page of the revocations of `service`."""
    params = {} if after is None else {"after": after}
    page = await clients.to(service).read("/internal/revocations", FeedPage, params=params, timeout_s=2)
    if page is None:
        raise ServiceUnavailable(f"The {service} service has no revocation feed.")
    return page


def _connect_cache(url: str) -> "Redis":
    """The cache, for data that may be lost: no retries and 50 ms, since requests wait for it."""
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=0.05, socket_connect_timeout=0.05)


def loaded(is_loaded: Callable[[], bool], otherwise: str, word: str = "loaded") -> Check:
    """A check that passes once `is_loaded` is true; `otherwise` says why it fails."""

    async def check() -> str:
        if not is_loaded():
            raise ServiceUnavailable(otherwise)
        return word

    return check


async def _measure_pools(database: Database) -> None:
    for role, connections in database.pool_in_use().items():
        metrics.POOL_IN_USE.labels(role).set(connections)


async def _ping(cache: "Redis") -> str:
    await cache.ping()
    return "reachable"


async def _bus_depth(bus: Bus, service: str) -> str:
    return f"{await bus.depth(service)} waiting"


def load_checked(kind: type[S]) -> tuple[S, list[str]]:
    """The settings of a long-running process, and all errors that prevent its start, a line each.

    Raises SettingsInvalid if a setting cannot be read at all.
    """
    errors = []
    try:
        settings = load(kind)
    except SettingsInvalid as invalid:
        if not isinstance(invalid.unfit, kind):
            raise
        settings, errors = invalid.unfit, [str(invalid)]
    if missing := settings.missing_settings():
        errors += [f"{kind.service}: missing settings; .env.example lists all:", *(f"  {line}" for line in missing)]
    if found := _mounted_file_errors(settings):
        errors += [f"{kind.service}: invalid mounted files:", *found]
    return settings, errors


def _mounted_file_errors(settings: ServiceSettings) -> list[str]:
    mounted: list[MountedFile] = [
        ("IDENTITY__KEY_FILE", settings.identity.key_file, parse_private_key),
        ("IDENTITY__TRUST_FILE", settings.identity.trust_file, partial(parse_trust, development=settings.development)),
        *settings.mounted_files(),
    ]
    errors = []
    for name, path, parse in mounted:
        if path is None:
            continue
        try:
            parse(path.read_bytes())
        except OSError as error:
            errors.append(f"  {name} is {path}: {error.strerror}")
        except (KeyInvalid, TrustInvalid, ValueError) as error:
            errors += [f"  {name} is {path}: {line}" for line in str(error).splitlines()]
    return errors
