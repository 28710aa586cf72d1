"""The open event streams and WebSockets: each is ended when its token, session, membership or tenant ends."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from shared.identity import Principal
from shared.identity.revocation_entries import Entry, MembershipState
from shared.identity.revocations import Revocations

EndReason: TypeAlias = Literal["token", "session", "user", "roles", "membership", "tenant", "expired", "closing"]
"""EndReason a stream was ended. `roles`: the person's roles changed, and a new token has them. `closing`: shutdown."""


@dataclass(eq=False, slots=True)
class OpenStream:
    """A stream, its principal, and the callback that ends it."""

    principal: Principal
    end: Callable[[EndReason], None]
    expiry: asyncio.TimerHandle | None = field(default=None, repr=False)


class OpenStreams:
    """Ends streams on revocation, expiry and shutdown. A batch of revocations takes one pass over all open streams."""

    def __init__(self, revocations: Revocations) -> None:
        self._revocations = revocations
        self._open: set[OpenStream] = set()
        self._unsubscribe = revocations.subscribe(self._end_revoked)

    def __len__(self) -> int:
        return len(self._open)

    def add(self, principal: Principal, end: Callable[[EndReason], None], *, until_expiry: bool) -> OpenStream:
        """Register a stream; with `until_expiry` it also ends when its token expires."""
        stream = OpenStream(principal, end)
        loop = asyncio.get_running_loop()
        if self._revocations.ended(principal) is not None:  # revoked since it was admitted
            loop.call_soon(end, "token")
        elif until_expiry:
            stream.expiry = loop.call_later(max(0.0, principal.expires_at - time.time()), end, "expired")
        self._open.add(stream)
        return stream

    def remove(self, stream: OpenStream) -> None:
        self._open.discard(stream)
        if stream.expiry is not None:
            stream.expiry.cancel()

    def close(self) -> None:
        """The gateway is shutting down: end every stream, so that its client reconnects to another gateway."""
        self._unsubscribe()
        for stream in tuple(self._open):
            stream.end("closing")

    def _end_revoked(self, entries: Sequence[Entry]) -> None:
        for stream in tuple(self._open):
            for entry in entries:
                if entry.ends(stream.principal):
                    stream.end(_reason(entry))
                    break


def _reason(entry: Entry) -> EndReason:
    return "roles" if isinstance(entry, MembershipState) and entry.roles is not None else entry.kind
