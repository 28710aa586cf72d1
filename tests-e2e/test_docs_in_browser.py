"""The API pages in Chromium, as someone new to the fleet uses them: every request stays at the gateway."""

import json
from urllib.parse import urlsplit

from browser import Page
from people import PASSWORD, Town

PROFILE = "#operations-profiles-users_read_profile"
DIALOG = ".auth-container"


def stayed(page: Page, url: str) -> None:
    """Fails if the page loaded anything from elsewhere, or the browser complained."""
    origins = {urlsplit(one).netloc for one in page.requested if not one.startswith(("data:", "blob:"))}
    assert origins == {urlsplit(url).netloc}
    assert page.complaints == []


async def test_an_operation_is_run_from_swagger_ui_after_signing_in(town: Town, page: Page) -> None:
    ann = await town.founder()
    url = town.urls[0]
    await page.send("Page.navigate", url=f"{url}/docs")
    await page.click(".auth-wrapper .authorize")
    await page.type(f"{DIALOG} #oauth_username", ann.username)
    await page.type(f"{DIALOG} #oauth_password", PASSWORD)
    await page.click(f"{DIALOG} button.authorize")
    await page.until(f"document.querySelector('{DIALOG} h6')?.textContent === 'Authorized'")
    await page.click(".modal-ux .btn-done, .modal-ux-header .close-modal")

    await page.click("#operations-tag-profiles")
    await page.click(f"{PROFILE} .opblock-summary-control")
    await page.until(f"!!document.querySelector('{PROFILE} .responses-table .response')")  # the operation is resolved
    await page.click(f"{PROFILE} button.execute")
    status = f"{PROFILE} .live-responses-table tbody .response-col_status"
    await page.until(f"!!document.querySelector('{status}')")
    assert (await page.run(f"document.querySelector('{status}').textContent")).startswith("200")
    shown = await page.run(f"document.querySelector('{PROFILE} .live-responses-table .microlight, "
                           f"{PROFILE} .live-responses-table .highlight-code').textContent")  # fmt: skip
    assert json.loads(shown[shown.index("{") : shown.rindex("}") + 1])["username"] == ann.username
    stayed(page, url)


async def test_redoc_shows_the_document(town: Town, page: Page) -> None:
    url = town.urls[0]
    await page.send("Page.navigate", url=f"{url}/redoc")
    for shown in ("/auth/login", "profiles", "notifications", "jobs"):
        await page.until(f"document.body?.innerText.includes('{shown}')")
    stayed(page, url)


async def test_the_front_page_leads_to_the_pages(town: Town, page: Page) -> None:
    url = town.urls[0]
    await page.send("Page.navigate", url=url)
    links = await page.until("[...document.querySelectorAll('nav a')].map(link => new URL(link.href).pathname)")
    assert links == ["/docs", "/redoc", "/openapi.json", "/health"]
    assert await page.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    stayed(page, url)
