"""The mail catcher takes what is sent and shows it."""

import asyncio
import smtplib
import sys
from collections.abc import AsyncIterator
from email.message import EmailMessage

import httpx2
import pytest

from shared.dev.servers import mail
from shared.dev.servers.server import free_port
from shared.testing import eventually


@pytest.fixture
async def catcher() -> AsyncIterator[tuple[int, str]]:
    """SMTP port and HTTP address."""
    smtp, http = free_port(), free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "shared.dev.servers.mail", str(smtp), str(http)
    )
    url = f"http://127.0.0.1:{http}"
    async with httpx2.AsyncClient() as client:

        async def ready() -> bool:
            try:
                return (await client.get(f"{url}/readyz")).status_code == 200
            except httpx2.TransportError:
                return False

        await eventually(ready)
    yield smtp, url
    process.terminate()
    assert await process.wait() in (0, -15)


def sent(port: int) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "ann@example.com", "bob@example.com", "Grüße <b>"
    message.set_content("Ahoy\n")
    message.add_alternative("<p>Ahoy</p>", subtype="html")
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.send_message(message)


async def test_a_message_is_caught_shown_and_forgotten(catcher: tuple[int, str]) -> None:
    port, url = catcher
    await asyncio.to_thread(sent, port)
    async with httpx2.AsyncClient(base_url=url) as client:
        [message] = (await client.get("/messages")).json()
        assert message["to"] == ["bob@example.com"]
        assert message["from"] == "ann@example.com"
        assert message["subject"] == "Grüße <b>"
        assert (message["text"], message["html"]) == ("Ahoy\n", "<p>Ahoy</p>\n")
        assert set(message) == {"id", "from", "to", "subject", "text", "html", "received_at"}
        assert "Grüße &lt;b&gt;" in (await client.get("/")).text
        assert (await client.delete("/messages")).status_code == 204
        assert (await client.get("/messages")).json() == []


def test_only_the_newest_are_kept() -> None:
    assert mail.Mailbox().messages.maxlen == mail.KEPT
