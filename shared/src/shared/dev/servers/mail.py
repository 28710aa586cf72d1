"""The mail catcher: takes every message that the fleet sends, delivers none, and shows them at http://localhost:8025.

GET /messages → [{id, from, to, subject, text, html, received_at}], newest last · DELETE /messages · / is for people.
"""

import asyncio
import html
import sys
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Final

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from shared.dev.servers.server import HOST
from shared.ids import new_id
from shared.web.quiet_server import QuietServer

KEPT: Final = 1000  # the newest ones; a forgotten catcher must not fill the memory
_PAGE: Final = """<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=5><title>Caught mail</title>
<style>body{{font:16px/1.5 system-ui;max-width:48rem;margin:2rem auto;padding:0 1rem}}
article{{border-top:1px solid #ccc;padding:1rem 0}}pre{{white-space:pre-wrap}}small{{color:#666}}</style>
<h1>Caught mail</h1><p>{count} messages; none left this machine.</p>{articles}"""


class Mailbox:
    """What was caught; aiosmtpd calls `handle_DATA` for each message."""

    def __init__(self) -> None:
        self.messages: deque[Mapping[str, Any]] = deque(maxlen=KEPT)

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        self.messages.append(_read(envelope))
        return "250 OK"


def _read(envelope: Envelope) -> dict[str, Any]:
    content = envelope.content or b""
    content = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    message = message_from_bytes(content, policy=policy.default)
    return {
        "id": str(new_id()),
        "from": envelope.mail_from,
        "to": list(envelope.rcpt_tos),
        "subject": str(message.get("Subject", "")),
        "text": _body(message, "plain"),
        "html": _body(message, "html"),
        "received_at": datetime.now(UTC).isoformat(),
    }


def _body(message: Any, subtype: str) -> str | None:
    """The text of that kind; None when the message has none."""
    part: EmailMessage | None = message.get_body(preferencelist=(subtype,))
    return None if part is None else str(part.get_content()).replace("\r\n", "\n")


def create_app(mailbox: Mailbox) -> FastAPI:
    """The catcher's own HTTP side."""
    app = FastAPI(openapi_url=None)

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/messages")
    async def messages() -> list[dict[str, Any]]:
        return [dict(message) for message in mailbox.messages]

    @app.delete("/messages", status_code=204)
    async def forget() -> None:
        mailbox.messages.clear()

    @app.get("/")
    async def page() -> HTMLResponse:
        articles = "".join(_article(message) for message in reversed(mailbox.messages))
        # What a message holds is text here, whatever it claims to be.
        headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return HTMLResponse(_PAGE.format(count=len(mailbox.messages), articles=articles), headers=headers)

    return app


def _article(message: Mapping[str, Any]) -> str:
    to, subject = html.escape(", ".join(message["to"])), html.escape(message["subject"])
    text = html.escape(message["text"] or message["html"] or "")
    head = f"<b>{subject}</b><br><small>to {to}, {message['received_at'][:19]} UTC</small>"
    return f"<article>{head}<pre>{text}</pre></article>"


async def serve(smtp_port: int, http_port: int) -> None:
    """Catch mail until SIGTERM."""
    mailbox, loop = Mailbox(), asyncio.get_running_loop()
    smtp = await loop.create_server(
        lambda: SMTP(mailbox, hostname="localhost", enable_SMTPUTF8=True, loop=loop), HOST, smtp_port
    )
    web = QuietServer(uvicorn.Config(create_app(mailbox), host=HOST, port=http_port, log_config=None, access_log=False))
    async with smtp:
        await web.serve()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
