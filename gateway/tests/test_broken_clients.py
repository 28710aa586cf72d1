"""Clients that break the rules do the gateway no harm, as a process of its own."""

import asyncio
from pathlib import Path
from typing import Any

from shared.dev.servers.server import free_port
from shared.testing.broken_clients import Target, survives
from shared.testing.processes import service_process

from .conftest import echo
from .test_websockets import echoing


async def endless(scope: Any, receive: Any, send: Any) -> None:
    async def left() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    leaving = asyncio.create_task(left())
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    while not leaving.done():
        await send({"type": "http.response.body", "body": b"data: x\n\n" * 1000, "more_body": True})
        await asyncio.sleep(0.01)


async def test_broken_clients_do_no_harm(
    edge_values: dict[str, Any], sign_in: Any, upstream: Any, tmp_path: Path
) -> None:
    async def service(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await echoing(scope, receive, send)
        else:
            await (endless if scope["path"].endswith("/events") else echo)(scope, receive, send)

    upstream.handler = service
    admin_port = free_port()
    values = edge_values | {"admin": {"port": admin_port}, "log": {"level": "INFO"}}
    async with service_process("gateway", values, tmp_path / "log") as process:
        operators_url = f"http://127.0.0.1:{admin_port}"
        paths = {
            "get": "/api/v1/rooms",
            "post": "/api/v1/rooms",
            "multipart": "/api/v1/files",
            "stream": "/api/v1/jobs/1/events",
            "websocket": "/ws",
        }
        target = Target(process.url, lambda: sign_in("ann"), operators_url=operators_url, **paths)
        await survives(process, target)
