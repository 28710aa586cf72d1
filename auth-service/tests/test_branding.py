"""The name, color and texts of a tenant on pages and in mails: text and a color, never markup or a link."""

from typing import Any
from uuid import UUID

import pytest

from shared.testing.fakes import FakeUsers

from .door import Door, claims_of
from .events import chosen_settings, received
from .mailbox import Mailbox, link_in, text_of
from .oauth import Browser, registered
from .test_invitation_mails import ask, invitation

BRANDING = {"name": "Acme <b>& Co</b>", "color": "#0B5CAD"}
TEXTS = {
    "en": {"intro": "See evil.example\nor http://evil.example", "footer": "Acme, Main Street 1"},
    "fr": {"intro": "Salut"},
}
SHOWN = "Acme &lt;b&gt;&amp; Co&lt;/b&gt; (Flotilla)"
COLOR = "/auth/pages/assets/colors/0b5cad.css"


async def branded(door: Door, users: FakeUsers, **more: Any) -> None:
    await chosen_settings(door, users, "acme", {"branding": BRANDING, "mail_texts": TEXTS, **more})


async def test_pages_show_the_name_and_color_of_the_tenant_that_they_are_for(door: Door, users: FakeUsers) -> None:
    client = await registered(door, await door.signed_up("ann", slug="acme"))
    await branded(door, users)
    browser = Browser(door)
    asked = await browser.get("/oauth2/authorize", client.query())
    sign_in = await browser.get(asked.headers["location"])
    await browser.sign_in("ann", asked.headers["location"])
    consent = await browser.get("/oauth2/authorize", client.query())
    by_address = await door.client.get("/auth/pages/sign-in", headers={"Host": "acme.localhost:8000"})
    paths = ("account", "account/factors/app", "account/password", "account/confirm", "device", "logout")
    of_session = [await browser.get(f"/oauth2/{path}") for path in paths]
    for page in (sign_in, consent, by_address, *of_session):
        assert (page.status_code, SHOWN in page.text) == (200, True)
        assert f'<link rel="stylesheet" href="{COLOR}">' in page.text
        assert "style-src 'self';" in page.headers["content-security-policy"]
        assert "style=" not in page.text
    style = await door.client.get(COLOR)
    assert (style.status_code, style.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert style.text.startswith(":root { --brand: #0b5cad; --brand-text: #ffffff; }\n")
    plain = await door.client.get("/auth/pages/sign-in")
    assert "/colors/" not in plain.text
    assert "Acme" not in plain.text


@pytest.mark.parametrize(
    "color", ["#ffff00", "#0b5ca", "#0b5cad;}", "red", "#0b5cad\n", "url(https://evil.example)", 7, None], ids=str
)
async def test_a_color_that_cannot_be_used_is_ours(door: Door, users: FakeUsers, color: Any) -> None:
    await door.register("ann", slug="acme")
    await chosen_settings(door, users, "acme", {"branding": {"name": "Acme", "color": color}})
    page = await door.client.get("/auth/pages/sign-in", headers={"X-Tenant-ID": "acme"})
    assert "Acme (Flotilla)" in page.text
    assert "/colors/" not in page.text


@pytest.mark.parametrize("color", ["ffff00", "0B5CAD", "0b5ca", "0b5cad%7D", "..%2Fpages"])
async def test_no_other_style_is_served(door: Door, color: str) -> None:
    assert (await door.client.get(f"/auth/pages/assets/colors/{color}.css")).status_code in (404, 422)


async def test_a_suspended_tenant_shows_nothing_of_its_own(door: Door, users: FakeUsers) -> None:
    await door.register("ann", slug="acme")
    await branded(door, users)
    tenant = UUID(users.tenants["acme"]["id"])
    data = {"slug": "acme", "name": "Acme", "tier": "free", "status": "suspended"}
    await received(door.database, "tenant.suspended", tenant, 3, data, tenant)
    page = await door.client.get("/auth/pages/sign-in", headers={"X-Tenant-ID": "acme"})
    assert (page.status_code, "Acme" in page.text) == (200, False)


@pytest.mark.parametrize("path", ["/auth/password/reset", "/auth/magic-link"])
async def test_links_are_mailed_with_the_texts_of_the_persons_tenant(
    door: Door, users: FakeUsers, mailbox: Mailbox, path: str
) -> None:
    await door.signed_up("ann", slug="acme")
    await door.register("bob", slug="globex")
    await branded(door, users)
    await door.client.post(path, json={"email": "ann@example.com"})
    mail = await mailbox.received(1)
    shown = text_of(mail).replace("\r\n", "\n")
    assert link_in(mail).startswith("http://localhost:8000/auth/pages/")  # the only link
    assert shown.startswith("See evil. example\nor http: //evil. example\n\nHello ann,")
    assert "at Acme <b>& Co</b> (Flotilla):" in shown
    assert shown.rstrip().endswith("-- \nAcme, Main Street 1")
    assert mail.get_content_type() == "text/plain"
    await door.client.post(path, json={"email": "bob@example.com"}, headers={"X-Tenant-ID": "acme"})
    other = text_of(await mailbox.received(2))
    assert (other.startswith("Hello bob,"), "Acme" in other) == (True, False)
    await door.client.post(path, json={"email": "eve@example.com"}, headers={"X-Tenant-ID": "acme"})
    assert "Acme" not in text_of(await mailbox.received(3))


async def test_a_tenant_that_a_person_has_left_brands_no_mail_to_them(
    door: Door, users: FakeUsers, mailbox: Mailbox
) -> None:
    ann = claims_of(await door.signed_up("ann", slug="acme"))
    await branded(door, users)
    tenant = UUID(users.tenants["acme"]["id"])
    [membership] = users.memberships.values()
    data = {"user_id": ann["sub"], "username": "ann", "roles": ["admin"], "status": "ended"}
    await received(door.database, "membership.revoked", UUID(membership["id"]), 2, data, tenant)
    await door.client.post("/auth/password/reset", json={"email": "ann@example.com"})
    assert "Acme" not in text_of(await mailbox.received(1))


async def test_an_address_that_is_not_verified_gets_no_texts_of_a_tenant(
    door: Door, users: FakeUsers, mailbox: Mailbox
) -> None:
    await door.signed_up("ann", slug="acme")
    await branded(door, users)
    body = {"username": "ann", "password": "Sail-away-7", "email": "stranger@example.com"}
    assert (await door.client.post("/auth/verify-email/request", json=body)).status_code == 202
    assert "Acme" not in text_of(await mailbox.received(1))


async def test_an_invitation_has_the_inviting_tenants_texts(door: Door, users: FakeUsers, mailbox: Mailbox) -> None:
    await door.register("ann", slug="acme")
    await branded(door, users)
    body = invitation(tenant={"id": users.tenants["acme"]["id"]}, locale="fr")
    assert (await ask(door, body)).status_code == 202
    shown = text_of(await mailbox.received(1)).replace("\r\n", "\n")
    assert shown.startswith("Salut\n\nBonjour,")
    assert "sur Acme <b>& Co</b> (Flotilla)" in shown
    assert "Main Street" not in shown
