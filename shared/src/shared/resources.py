"""What a process has opened, by type, and the dependency by which a path operation gets one of them.

    Settings = Annotated[UsersSettings, resource(UsersSettings)]
    StorageDep = Annotated[Storage, resource(Storage)]

shared/process.py opens the resources in one lifespan, which hands them to every request through the ASGI lifespan
state. A test replaces one by `resources.add(…)` before it sends its requests.
"""

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, TypeVar, cast

from fastapi import Depends
from fastapi.requests import HTTPConnection

T = TypeVar("T")


class MissingSetting(LookupError):
    """The process needs a setting that its environment does not have."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not set; .env.example lists all settings")


class Resources:
    """The open resources of one process: at most one of each type."""

    def __init__(self) -> None:
        self._by_type: dict[type, object] = {}
        self._missing: dict[type, str] = {}

    def add(self, resource: T, kind: type[T] | None = None) -> T:
        """Make `resource` available by its own type, or by `kind`: a base class or a protocol that it fulfills."""
        self._by_type[kind or type(resource)] = resource
        return resource

    def miss(self, kind: type, setting: str) -> None:
        """Record that `kind` was not opened because `setting` is not set."""
        self._missing[kind] = setting

    def find(self, kind: type[T]) -> T | None:
        """The resource of that type, or None when the process did not open one."""
        return cast(T | None, self._by_type.get(kind))

    def get(self, kind: type[T]) -> T:
        """The resource of that type. Raises MissingSetting when its setting is not set."""
        if kind not in self._by_type:
            if kind in self._missing:
                raise MissingSetting(self._missing[kind])
            raise LookupError(f"this process has not opened a {kind.__name__}")
        return cast(T, self._by_type[kind])


def resources_of(connection: HTTPConnection) -> Resources:
    """The resources of the process that serves `connection`."""
    return cast(Resources, connection.scope["state"]["resources"])


@cache
def dependency(kind: type[T]) -> Callable[[HTTPConnection], Awaitable[T]]:
    """The dependency that `resource(kind)` declares; the same object each time, which FastAPI calls once a request."""

    async def opened(connection: HTTPConnection) -> T:
        return resources_of(connection).get(kind)

    return opened


def resource(kind: type) -> Any:
    """Declare in a path operation's signature that it uses the process's resource of this type."""
    return Depends(dependency(kind))
