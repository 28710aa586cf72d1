"""The session that a person allowed a client, by a code or a device: opened with its tokens, or not at all."""

from typing import Any

import pytest

from shared.testing.fakes import FakeUsers

from .door import Door, claims_of
from .oauth import DEVICE_GRANT, Browser, OAuthClient, Reply, code_for, fields_of, registered

PAGE = "/oauth2/device"


class Allowed:
    """A client that the person has allowed; it has yet to redeem what it was given."""

    def __init__(self, client: OAuthClient, form: dict[str, str]) -> None:
        self.client, self.form = client, form

    async def redeem(self) -> Reply:
        return await self.client.post("token", self.form)


@pytest.fixture
async def ann(door: Door, users: FakeUsers) -> dict[str, Any]:
    """Ann is a member of acme, which she uses, and of globex."""
    tokens = await door.signed_up("ann", slug="acme")
    await door.signed_up("boss", slug="globex")
    users.add_member("globex", claims_of(tokens)["sub"], roles=["user"])
    await door.a_minute_passes()
    return tokens


@pytest.fixture(params=["code", "device"])
async def allowed(request: pytest.FixtureRequest, door: Door, ann: dict[str, Any]) -> Allowed:
    """A client of globex."""
    boss = (await door.login("boss")).json()
    browser = Browser(door)
    await browser.sign_in("ann")
    if request.param == "code":
        client = await registered(door, boss)
        return Allowed(client, client.redemption(await code_for(browser, client)))
    device = {"redirect_uris": [], "grant_types": [DEVICE_GRANT, "refresh_token"]}
    client = await registered(door, boss, **device)
    asked = (await client.post("device_authorization", {"scope": "openid jobs:read"})).json()
    entry = fields_of((await browser.get(PAGE)).text)
    consent = await browser.send(PAGE, {**entry, "user_code": asked["user_code"]})
    assert (await browser.send(PAGE, {**fields_of(consent.text), "decision": "allow"})).status_code == 303
    return Allowed(client, {"grant_type": DEVICE_GRANT, "device_code": asked["device_code"]})


async def sessions_of(door: Door, client: OAuthClient) -> list[dict[str, Any]]:
    return await door.rows("SELECT id FROM sessions WHERE client_id = :id", id=client.id)


async def test_a_client_leaves_the_persons_default_tenant_alone(door: Door, allowed: Allowed) -> None:
    assert claims_of((await allowed.redeem()).json())["tenant_slug"] == "globex"
    assert claims_of((await door.login("ann")).json())["tenant_slug"] == "acme"


async def test_no_session_is_left_where_the_membership_has_ended(
    door: Door, users: FakeUsers, ann: dict[str, Any], allowed: Allowed
) -> None:
    users.end_member("globex", claims_of(ann)["sub"])
    await door.a_minute_passes()
    for _ in range(2):
        refused = await allowed.redeem()
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert await sessions_of(door, allowed.client) == []


async def test_a_refusal_spends_nothing(door: Door, users: FakeUsers, ann: dict[str, Any], allowed: Allowed) -> None:
    users.add_member("globex", claims_of(ann)["sub"], roles=["user"], status="suspended")
    await door.a_minute_passes()
    assert (await allowed.redeem()).json()["error"] == "invalid_grant"
    users.add_member("globex", claims_of(ann)["sub"], roles=["user"])
    await door.a_minute_passes()
    assert (await allowed.redeem()).status_code == 200
    assert len(await sessions_of(door, allowed.client)) == 1


async def test_what_was_withdrawn_is_not_redeemed(door: Door, ann: dict[str, Any], allowed: Allowed) -> None:
    headers = door.bearer(ann)
    consent = (await door.client.get("/oauth2/consents", headers=headers)).json()["items"][0]
    assert (await door.client.delete(f"/oauth2/consents/{consent['id']}", headers=headers)).status_code == 204
    assert (await allowed.redeem()).json()["error"] == "invalid_grant"
    assert await sessions_of(door, allowed.client) == []
