"""A session list names devices so that their owner recognizes them."""

import pytest

from .door import Door

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)

MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
ANDROID = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        (CHROME, "Chrome on Windows"),
        (f"{CHROME} Edg/140.0.0.0", "Edge on Windows"),
        (f"{CHROME} OPR/120.0.0.0", "Opera on Windows"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0", "Firefox on Linux"),
        (f"{MAC} Version/18.5 Safari/605.1.15", "Safari on macOS"),
        (f"{IPHONE} CriOS/139.0 Mobile/15E148 Safari/604.1", "Chrome on iPhone"),
        (f"{ANDROID} Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"),
        ("Mozilla/5.0 (Nintendo Switch)", "Mozilla/5.0 (Nintendo Switch)"),
        ("curl/8.16.0", "curl"),
        ("python-httpx/0.28.1 (bot)", "python-httpx"),
        ("<b>what?</b>", "<b>what?</b>"),
    ],
)
async def test_a_device_is_readable(door: Door, user_agent: str, device: str) -> None:
    tokens = await door.signed_up("ann", slug="acme")
    headers = {"User-Agent": user_agent, **door.sent_from("2001:db8::1")}
    opened = (await door.login("ann", headers=headers)).json()
    listed = (await door.client.get("/auth/sessions", headers=door.bearer(tokens))).json()["items"]
    shown = next(item for item in listed if item["id"] == opened["session_id"])
    assert (shown["device"], shown["address"]) == (device, "2001:db8::1")
