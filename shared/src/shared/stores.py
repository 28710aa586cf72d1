"""The stores of a service's process: its database, the event bus and the cache, each if its setting is set."""

from functools import partial

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from shared.data.database import Database
from shared.events import Bus, open_bus
from shared.process import Process
from shared.telemetry import metrics


def open_stores(process: Process) -> None:
    """Add the stores and their health checks to `process`. Connects to nothing yet."""
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


def _connect_cache(url: str) -> Redis:
    """The cache, for data that may be lost: no retries and 50 ms, since requests wait for it."""
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=0.05, socket_connect_timeout=0.05)


async def _measure_pools(database: Database) -> None:
    for role, connections in database.pool_in_use().items():
        metrics.POOL_IN_USE.labels(role).set(connections)


async def _ping(cache: Redis) -> str:
    await cache.ping()
    return "reachable"


async def _bus_depth(bus: Bus, service: str) -> str:
    return f"{await bus.depth(service)} waiting"
