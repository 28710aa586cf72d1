"""Requests that outlast the drain: the server cancels their tasks, and their connections end without an answer."""

import asyncio
from collections.abc import Callable
from typing import Any


def cut_off_quietly(app: Any, end: Callable[[], None]) -> Any:
    """`app`, with `end` in place of the error that uvicorn would log and answer when the request's task is cancelled.

    An application may catch the cancellation and answer. A CancelledError that no caller asked for is an error.
    """

    async def run(scope: Any, receive: Any, send: Any) -> None:
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or not task.cancelling():
                raise
            end()

    return run
