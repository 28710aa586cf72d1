"""Which transport a URL means."""

from urllib.parse import urlsplit

from shared.events.bus import Bus
from shared.events.rabbit import RabbitBus
from shared.events.valkey_streams import ValkeyBus

_BY_SCHEME: dict[str, type[RabbitBus] | type[ValkeyBus]] = {
    "amqp": RabbitBus,
    "amqps": RabbitBus,
    "redis": ValkeyBus,
    "rediss": ValkeyBus,
}


def open_bus(url: str) -> Bus:
    """The bus at `url` (amqp, amqps, redis, rediss). Connects to nothing yet; raises ValueError for another scheme."""
    scheme = urlsplit(url).scheme
    if scheme not in _BY_SCHEME:
        raise ValueError(f"BUS_URL has the scheme {scheme!r}; supported schemes: {', '.join(_BY_SCHEME)}")
    return _BY_SCHEME[scheme](url)
