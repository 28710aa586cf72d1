"""Server-sent events (WHATWG HTML, section 9.2) as the answer of a plain path operation.

The operation authorises in `Db`, may answer 204 or raise, and returns `stream(events)`: yielding in the operation
itself would answer 200 whatever happens. The generator opens short sessions of its own; the request's is closed by
then.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse

KEEP_ALIVE_S: Final = 15  # below the 60 s at which most proxies cut an idle connection
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def event(name: str, data: bytes | str, *, id: str | None = None) -> bytes:  # noqa: A002 - the field's own name
    """One event on the wire; `id` is what the client sends back as Last-Event-ID."""
    return format_sse_event(event=name, data_str=data if isinstance(data, str) else data.decode(), id=id)


def stream(events: AsyncIterator[bytes]) -> StreamingResponse:
    """Send `events` as they come, with a comment in silence so that a dead connection shows."""
    return StreamingResponse(_kept_alive(events), media_type="text/event-stream", headers=_HEADERS)


async def _kept_alive(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield format_sse_event(comment="open")
    following = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            done, _ = await asyncio.wait([following], timeout=KEEP_ALIVE_S)
            if not done:
                yield format_sse_event(comment="still here")
                continue
            if (sent := following.result()) is None:
                return
            yield sent
            following = asyncio.ensure_future(anext(events, None))
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError, StopAsyncIteration):
            await following
        if (close := getattr(events, "aclose", None)) is not None:
            await close()
