"""Shutdown: draining, and requests that outlast it."""

import asyncio
from typing import Any

import pytest

from shared.testing.waiting import eventually


async def test_a_request_that_outlasts_the_drain_is_a_504(
    edge: Any, client: Any, sign_in: Any, upstream: Any, caplog: pytest.LogCaptureFixture
) -> None:
    came = asyncio.Event()

    async def service(scope: Any, receive: Any, send: Any) -> None:
        came.set()
        while (await receive())["type"] != "http.disconnect":
            pass

    upstream.handler = service
    asked = asyncio.create_task(client.get("/api/v1/rooms", headers=sign_in("ann")))
    await came.wait()
    edge.server.should_exit = True
    reply = await asked
    assert (reply.status_code, reply.json()["code"]) == (504, "upstream_timeout")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_draining_gateway_finishes_open_requests(
    edge: Any, client: Any, sign_in: Any, upstream: Any, helpers: Any
) -> None:
    came = asyncio.Event()
    may_answer = asyncio.Event()

    async def service(scope: Any, receive: Any, send: Any) -> None:
        came.set()
        await may_answer.wait()
        await helpers.reply(send, 200, b"whole")

    upstream.handler = service
    asked = asyncio.create_task(client.get("/api/v1/rooms", headers=sign_in("ann")))
    await came.wait()
    edge.server.should_exit = True
    await eventually(lambda: edge.gateway.checks.draining)
    may_answer.set()
    reply = await asked
    assert (reply.status_code, reply.text) == (200, "whole")
