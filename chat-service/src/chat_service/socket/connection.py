"""One client's connection: its person, its errors, and the end of its token."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from uuid import UUID

import structlog
from starlette.websockets import WebSocket

from chat_service.delivery.outgoing import Close, Outgoing, encoded
from chat_service.messages.rate import RateLimited, Tally
from chat_service.push import StreamKey, StreamKind
from chat_service.settings import SocketSettings
from chat_service.socket import frames
from chat_service.socket.frames import Frame, Ping, Ref, Refused
from chat_service.socket.problems import NOT_UNDERSTOOD, for_frame
from shared.identity.principal import Principal
from shared.ids import new_id
from shared.problems import Problem
from shared.web.sockets import SocketProtocol

log = structlog.get_logger(__name__)

MAX_INVALID_FRAMES: Final = 10  # a minute: then the client does not follow the protocol
MAX_REFUSALS: Final = 100  # a minute: then the client ignores `rate_limited`
_MAX_WAITING: Final = 64  # frames taken ahead of their handling; more wait in the socket

Handle = Callable[["Connection", Frame], Awaitable[None]]
Admit = Callable[["Connection", Frame], bool]


class Connection:
    """Frames are handled one after the other. Their client is read more slowly when it sends faster than that."""

    def __init__(self, protocol: SocketProtocol, principal: Principal, tenant_id: UUID, limits: SocketSettings) -> None:
        self.id = new_id()
        self.principal, self.tenant_id = principal, tenant_id
        self.outgoing = Outgoing(protocol, limits)
        self.catching_up = asyncio.Lock()  # one room's history at a time: what is written ahead stays bounded
        self.tasks: set[asyncio.Task[None]] = set()
        self._inbox: asyncio.Queue[Frame] = asyncio.Queue(_MAX_WAITING)
        self._gone = False
        self._invalid_frames, self._refusals = Tally(MAX_INVALID_FRAMES), Tally(MAX_REFUSALS)
        self._expiry: asyncio.TimerHandle | None = None
        self._schedule_expiry()

    @property
    def user_id(self) -> UUID:
        return self.principal.user_id

    @property
    def user(self) -> dict[str, str]:
        return {"id": str(self.principal.user_id), "username": self.principal.username}

    @property
    def person(self) -> StreamKey:
        """The stream of the person's notifications."""
        return StreamKey(StreamKind.PERSON, self.tenant_id, self.user_id)

    def deliver(self, seq: int, frame: bytes) -> None:
        """Take the person's next notification."""
        if "notifications:read" in self.principal.scopes:
            self.outgoing.put(frame)

    def say(self, kind: str, body: Mapping[str, Any], ref: Ref = None) -> None:
        """Send a frame; an answer repeats the request's ref."""
        said = {"type": kind, **body}
        self.outgoing.put(encoded(said if ref is None else {**said, "ref": ref}))

    def refuse(self, problem: Problem, ref: Ref) -> None:
        """Answer a frame with an error, and close the connection after too many."""
        shown = for_frame(problem)
        error = {"type": "error", "code": shown.code, "title": shown.title, "detail": shown.detail, "ref": ref}
        self.outgoing.put(encoded(error))
        if isinstance(shown, NOT_UNDERSTOOD) and self._invalid_frames.add():
            self.outgoing.close(Close.NOT_UNDERSTOOD)
        elif isinstance(shown, RateLimited) and self._refusals.add():
            self.outgoing.close(Close.TOO_MANY_MESSAGES)

    def use_token(self, principal: Principal) -> None:
        """Continue with the new token."""
        self.principal = principal
        self._schedule_expiry()

    async def read(self, websocket: WebSocket, admit: Admit) -> int:
        """Read frames until the connection ends; the close code. `admit` answers False where it has refused one."""
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return int(message.get("code") or 1005)
            if (text := message.get("text")) is None:
                self.outgoing.close(Close.BINARY)
                continue
            await self._take(text, admit)

    async def work(self, handle: Handle) -> None:
        """Handle the frames that were read, one after the other, until the connection is gone.

        Being cancelled is not enough: a library may lose that on its way (see shared/background/supervision.py).
        """
        while not self._gone:
            frame = await self._inbox.get()
            if not self.outgoing.ended:  # else no answer can be sent: only let the reader see the end
                await self._handle(frame, handle)

    async def _handle(self, frame: Frame, handle: Handle) -> None:
        try:
            await handle(self, frame)
        except Problem as problem:
            self.refuse(problem, frame.ref)
        except Exception:  # one frame is one unit of work; its failure ends this connection alone
            log.exception("frame_failed", kind=frame.kind)
            self.outgoing.close(1011)

    def end(self) -> None:
        """The connection is gone."""
        self._gone = True
        if self._expiry is not None:
            self._expiry.cancel()
        for task in self.tasks:
            task.cancel()
        self.outgoing.abandon()

    async def _take(self, text: str, admit: Admit) -> None:
        """Answer the frame if that takes no waiting, else queue it; wait while the queue is full."""
        try:
            frame = frames.parse(text)
        except Refused as refused:
            self.refuse(refused.problem, refused.ref)
            return
        if isinstance(frame, Ping):
            self.say("pong", {}, frame.ref)
        elif admit(self, frame):
            await self._inbox.put(frame)

    def _schedule_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        left_s = max(0.0, self.principal.expires_at - time.time())
        self._expiry = asyncio.get_running_loop().call_later(left_s, self.outgoing.close, Close.TOKEN_ENDED)
