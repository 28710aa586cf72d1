"""Which transport a URL means. Only that one and its client library are imported."""

from collections.abc import Callable
from pkgutil import resolve_name
from typing import Final
from urllib.parse import urlsplit

from shared.events.bus import Bus

_RABBIT: Final = "shared.events.rabbit:RabbitBus"
_VALKEY: Final = "shared.events.valkey_streams:ValkeyBus"
_BY_SCHEME: Final = {"amqp": _RABBIT, "amqps": _RABBIT, "redis": _VALKEY, "rediss": _VALKEY}


def open_bus(url: str) -> Bus:
    """The bus at `url` (amqp, amqps, redis, rediss). Connects to nothing yet; raises ValueError for another scheme."""
    scheme = urlsplit(url).scheme
    if scheme not in _BY_SCHEME:
        raise ValueError(f"BUS_URL has the scheme {scheme!r}; supported schemes: {', '.join(_BY_SCHEME)}")
    transport: Callable[[str], Bus] = resolve_name(_BY_SCHEME[scheme])
    return transport(url)
