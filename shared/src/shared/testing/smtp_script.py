"""A mail server on a socket of its own that answers each step as a test says, and keeps the bytes as they came."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

GREETING, AFTER_THE_DOT = "greeting", "."
USUAL = {GREETING: "220 ready", "AUTH": "235 signed in", "DATA": "354 go on", AFTER_THE_DOT: "250 taken", "QUIT": "221"}


@dataclass
class SmtpScript:
    """`answers` are what it says instead of the usual, by step: the command, the greeting, or after the message."""

    port: int = 0
    answers: dict[str, str] = field(default_factory=dict)
    extensions: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until its end."""
        self._say(writer, GREETING)
        try:
            while line := await reader.readline():
                command = line.decode().strip()
                self.commands.append(command)
                self._say(writer, command.split()[0].upper())
                if command.upper() == "QUIT":
                    break
                if command.upper() == "DATA" and "DATA" not in self.answers:
                    self.messages.append((await reader.readuntil(b"\r\n.\r\n"))[:-3])
                    self._say(writer, AFTER_THE_DOT)
        except ConnectionError:  # a client that does not wait for the answer to QUIT
            pass
        finally:
            writer.close()

    def _say(self, writer: asyncio.StreamWriter, step: str) -> None:
        usual = USUAL.get(step, "250 OK")
        if step == "EHLO":
            usual = "\r\n".join(
                ["250-mail.example", *(f"250-{extension}" for extension in self.extensions), "250 HELP"]
            )
        writer.write(f"{self.answers.get(step, usual)}\r\n".encode())


class SmtpServer:
    """A port at which one script after another answers; a connection stays with the script that greeted it."""

    def __init__(self) -> None:
        self._script = SmtpScript()
        self.port = 0

    def play(self) -> SmtpScript:
        """Answer new connections by a new script."""
        self._script = SmtpScript(self.port)
        return self._script

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._script.answer(reader, writer)


@asynccontextmanager
async def smtp_server() -> AsyncIterator[SmtpServer]:
    opened = SmtpServer()
    async with await asyncio.start_server(opened.answer, "127.0.0.1", 0) as server:
        opened.port = server.sockets[0].getsockname()[1]
        yield opened


@asynccontextmanager
async def smtp_script() -> AsyncIterator[SmtpScript]:
    """A server with one script."""
    async with smtp_server() as server:
        yield server.play()
