"""Waiting for a condition instead of for a time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    look: Callable[[], Awaitable[T]], *, within_s: float = ..., every_s: float = ..., saying: str = ...
) -> T: ...
@overload
async def eventually(look: Callable[[], T], *, within_s: float = ..., every_s: float = ..., saying: str = ...) -> T: ...
async def eventually(
    look: Callable[[], Awaitable[T] | T], *, within_s: float = 30.0, every_s: float = 0.02, saying: str = ""
) -> T:
    """What `look` returns (awaited where it is a coroutine) once that is true; looks again and again.

    Raises AssertionError when time is up.
    """
    until = asyncio.get_running_loop().time() + within_s
    while True:
        found = look()
        seen = await found if isinstance(found, Awaitable) else found
        if seen:
            return seen
        if asyncio.get_running_loop().time() > until:
            raise AssertionError(f"did not come true within {within_s:g} s: {saying or look} (last seen: {seen!r})")
        await asyncio.sleep(every_s)


async def until_stable(look: Callable[[], T], *, for_s: float = 0.3, within_s: float = 30.0) -> T:
    """The value of `look` once it has not changed for `for_s`, such as a counter that back-pressure has stopped.

    Raises AssertionError if it still changes after `within_s`.
    """
    seen, since = look(), asyncio.get_running_loop().time()

    def stable() -> bool:
        nonlocal seen, since
        now = asyncio.get_running_loop().time()
        if (value := look()) != seen:
            seen, since = value, now
        return now - since >= for_s

    await eventually(stable, within_s=within_s, saying="the value is stable")
    return seen
