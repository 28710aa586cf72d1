"""The key set is unavailable: people who are signed in go on, and nothing asks for it more often than it may."""

from typing import Any

import httpx2
import pytest
from prometheus_client import REGISTRY

from shared.identity import jwks
from shared.identity.keys import generate_key
from shared.testing.waiting import eventually

SIGNED = "/api/v1/rooms/7/messages"
KEY_SET = "GET /oauth2/jwks.json"
FAILURES = 60
"""As many failed polls as an outage of an hour has; in the test they follow each other at once."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "REFRESH_EVERY_S", 0.01)
    monkeypatch.setattr(jwks, "_BACKOFF", jwks.Backoff(first_s=0.01, most_s=0.01))


async def test_sign_ins_outlive_an_outage_of_the_key_set(client: Any, sign_in: Any, auth: Any) -> None:
    before = sign_in("ann")
    assert (await client.get(SIGNED, headers=before)).status_code == 200
    auth.failing.add(KEY_SET)
    failed = _failed()
    await eventually(lambda: _failed() > failed + FAILURES, saying="the key set was asked for in vain")
    for headers in (before, sign_in("ann")):  # remembered, and verified now
        assert (await client.get(SIGNED, headers=headers)).status_code == 200
    assert (await client.get("/readyz")).status_code == 200

    rotated = generate_key()
    unknown = {"Authorization": f"Bearer {sign_in.token(sign_in.principal('ann'), key=rotated)}"}
    assert (await client.get(SIGNED, headers=unknown)).status_code == 401
    auth.failing.clear()
    auth.key, auth.id_token_keys = rotated, [auth.key]  # the old one stays listed

    async def known() -> bool:
        return bool((await client.get(SIGNED, headers=unknown)).status_code == 200)

    await eventually(known)
    assert (await client.get(SIGNED, headers=before)).status_code == 200


async def test_unknown_keys_fetch_the_set_once_in_a_while(
    open_edge: Any, sign_in: Any, auth: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(jwks, "REFRESH_EVERY_S", 3600.0)
    edge = await open_edge()
    asked = _asked(auth)
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        for _ in range(30):
            token = sign_in.token(sign_in.principal("ann"), key=generate_key())
            reply = await client.get(SIGNED, headers={"Authorization": f"Bearer {token}"})
            assert reply.status_code == 401
    assert _asked(auth) - asked <= 1


def _failed() -> float:
    return REGISTRY.get_sample_value("flotilla_loop_failures_total", {"loop": "jwks"}) or 0


def _asked(auth: Any) -> int:
    return sum(call.operation == KEY_SET for call in auth.calls)
