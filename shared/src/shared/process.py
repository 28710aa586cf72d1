"""What one process opens, by type, in one lifespan: shared resources first, then the service's own; closed in reverse.

The gateway has no database and imports no client of one: the database, the bus and the cache are in shared/stores.py.

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

from shared.background import BackgroundTask, PollingLoop
from shared.clients import Clients, PlainClient
from shared.identity.access_tokens import AccessTokenVerifier
from shared.identity.jwks import Jwks
from shared.identity.revocation_entries import FeedPage
from shared.identity.revocations import HELD_ANSWER_S, Revocations
from shared.identity.tokens import InternalVerifier, Signer
from shared.identity.trust import watch_trust
from shared.identity.verifier import Verifier
from shared.problems import ServiceUnavailable
from shared.resources import Resources
from shared.settings import ServiceSettings
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
    """Open what every process needs to identify callers. Background tasks are collected; the caller supervises them."""
    async with AsyncExitStack() as stack:
        process = Process(settings, health, stack)
        process.add(settings)
        process.add(settings, ServiceSettings)
        process.add(health)
        process.loop(PollingLoop("metrics", metrics.ProcessSampler().sample, every_s=0))
        _open_identity(process)
        yield process


def _open_identity(process: Process) -> None:
    settings = process.settings
    jwks = _open_jwks(process)
    if settings.identity.key_file is None:
        process.resources.miss(Signer, "IDENTITY__KEY_FILE")
        process.resources.miss(Clients, "IDENTITY__KEY_FILE")
    else:
        signer = process.add(Signer.from_file(settings.service, settings.identity.key_file))
        clients = Clients(settings.services, signer, timeout_s=settings.services_timeout_s)
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


async def _read_feed(clients: Clients, service: str, after: str | None, seen: str | None) -> FeedPage:
    """One page of the revocations of `service`. The caller limits how long that takes."""
    params = {name: value for name, value in (("after", after), ("seen", seen)) if value is not None}
    page = await clients.to(service).read("/internal/revocations", FeedPage, params=params, timeout_s=HELD_ANSWER_S)
    if page is None:
        raise ServiceUnavailable(f"The {service} service has no revocation feed.")
    return page


def loaded(is_loaded: Callable[[], bool], otherwise: str, word: str = "loaded") -> Check:
    """A check that passes once `is_loaded` is true; `otherwise` says why it fails."""

    async def check() -> str:
        if not is_loaded():
            raise ServiceUnavailable(otherwise)
        return word

    return check
