"""Invitations by mail, through the gateway: invited, registered, accepted, and a token of that tenant."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from browser import Page, press
from people import PASSWORD, Person, Town

from shared.testing import eventually


async def mailed_token(town: Town, address: str) -> str:
    """The token in the link of the one mail that the catcher has for the address."""

    async def look() -> str | None:
        caught: list[dict[str, Any]] = (await town.http.get(f"{town.fleet.mail_url}/messages")).json()
        texts = [str(mail["text"]) for mail in caught if mail["to"] == [address]]
        return texts[0] if texts else None

    text = await eventually(look, saying=f"mail to {address}") or ""
    [link] = re.findall(r"https?://\S+", text)
    assert urlsplit(link).path == "/auth/pages/invitation"
    [token] = parse_qs(urlsplit(link).query)["token"]
    return token


async def test_a_person_is_invited_registers_and_joins(town: Town) -> None:
    ann = await town.founder()
    invitations = f"/api/v1/tenants/{ann.tenant_id}/invitations"
    name = f"i{uuid4().hex[:10]}"
    address = f"{name}@example.com"
    invited = (await ann.post(invitations, 201, json={"email": address, "roles": ["user", "analyst"]})).json()
    token = await mailed_token(town, address)
    assert token not in str(invited)
    assert [one["id"] for one in await ann.all_of(invitations)] == [invited["id"]]

    opened = await town.http.get(
        f"{town.urls[0]}/auth/pages/invitation", params={"token": token}, follow_redirects=True
    )
    assert opened.status_code == 200, "opening the page spends nothing"
    assert f"{ann.username} invites you" in opened.text

    body = {"username": name, "email": address, "password": PASSWORD, "confirm_password": PASSWORD}
    body |= {"tenant": {"name": "Own", "slug": name}}
    made = (await town.http.post(f"{town.urls[0]}/auth/register", json=body)).json()
    bob = Person(town, name, made["id"], name, made["tenant"]["id"])
    await town.sign_in(bob)
    stranger = await town.founder()
    refused = await stranger.post("/api/v1/invitations/accept", 404, json={"token": token})
    assert refused.json()["code"] == "invitation_not_found"
    accepted = (await bob.at(1).post("/api/v1/invitations/accept", 200, json={"token": token})).json()
    assert (accepted["tenant"]["slug"], accepted["status"]) == (ann.tenant, "active")
    await bob.post("/api/v1/invitations/accept", 404, json={"token": token})
    assert await ann.all_of(invitations) == []

    session = (await bob.post("/auth/sessions", 201, json={"tenant": ann.tenant})).json()
    headers = {"Authorization": f"Bearer {session['access_token']}"}
    me = (await town.http.get(f"{town.urls[0]}/auth/me", headers=headers)).json()
    assert (me["tenant"]["id"], me["roles"]) == (ann.tenant_id, ["analyst", "user"])
    shown = (await ann.get(f"/api/v1/users/{bob.id}")).json()
    assert shown["username"] == name


async def test_an_invitation_is_accepted_on_its_page(town: Town, page: Page) -> None:
    ann, bob = await town.founder(), await town.founder()
    address = f"{bob.username}@example.com"
    await ann.post(f"/api/v1/tenants/{ann.tenant_id}/invitations", 201, json={"email": address, "roles": ["user"]})
    token = await mailed_token(town, address)
    await page.send("Page.navigate", url=f"{town.urls[0]}/auth/pages/invitation?token={token}")
    await page.until("location.pathname === '/oauth2/invitation'")
    await page.run("document.querySelector('a').click()")
    await page.until("document.activeElement?.id === 'username'")
    await page.send("Input.insertText", text=bob.username)
    await press(page, "Tab")
    await page.send("Input.insertText", text=PASSWORD)
    await press(page, "Enter")
    await page.until("location.pathname === '/oauth2/invitation' && document.querySelector('button') !== null")
    await page.run("document.querySelector('button').click()")
    await page.until("location.pathname === '/auth/pages/invitation-accepted'")
    assert page.complaints == []
    shown = (await ann.get(f"/api/v1/tenants/{ann.tenant_id}/members/{bob.id}")).json()
    assert (shown["status"], shown["roles"]) == ("active", ["user"])
