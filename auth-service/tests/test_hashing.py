"""Hashing in a storm of sign-ins: a few at a time, some wait, the others are refused."""

import asyncio
import threading
from collections import Counter
from typing import Any

import pytest

from auth_service.accounts.passwords import Passwords

from .door import Door

WORKERS, WAITING = 2, 20


@pytest.fixture
def settings_values(settings_values: dict[str, Any]) -> dict[str, Any]:
    limited = {"workers": WORKERS, "max_waiting": WAITING, "memory_kib": 16384}  # long enough to overlap
    return settings_values | {"passwords": settings_values["passwords"] | limited}


async def test_no_more_hashes_are_in_flight_than_there_are_workers(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    await door.signed_up("ann", slug="acme")
    in_flight, most, lock = 0, 0, threading.Lock()
    verifying = Passwords._verify

    def counted(passwords: Passwords, stored: str, password: str) -> bool:
        nonlocal in_flight, most
        with lock:
            in_flight += 1
            most = max(most, in_flight)
        try:
            return verifying(passwords, stored, password)
        finally:
            with lock:
                in_flight -= 1

    monkeypatch.setattr(Passwords, "_verify", counted)
    replies = await asyncio.gather(*(door.login("ann") for _ in range(100)))
    codes = Counter(reply.status_code for reply in replies)
    assert most == WORKERS
    assert codes[200] >= WORKERS + WAITING
    assert codes[200] + codes[503] == 100
    busy = [reply for reply in replies if reply.status_code == 503]
    assert all((reply.json()["code"], reply.headers["retry-after"]) == ("hashing_busy", "2") for reply in busy)
    assert (await door.login("ann")).status_code == 200
