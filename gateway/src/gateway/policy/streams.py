"""The event streams and sockets that are open: each ends within moments of its token, its session or its tenant."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from shared.identity import Principal
from shared.identity.revocation_entries import Entry, MembershipState
from shared.identity.revocations import Revocations

Why: TypeAlias = Literal["token", "session", "user", "roles", "membership", "tenant", "expired", "closing"]
"""What ended a stream. `roles`: the person's have changed, and a new token carries them; `membership`: it is over."""


@dataclass(eq=False, slots=True)
class OpenStream:
    """A stream, whose it is, and how it is ended."""

    principal: Principal
    end: Callable[[Why], None]
    expiry: asyncio.TimerHandle | None = field(default=None, repr=False)


class OpenStreams:
    """Ends what is open when its time has come. One pass over all of them for a batch of revocations."""

    def __init__(self, revocations: Revocations) -> None:
        self._revocations = revocations
        self._open: set[OpenStream] = set()
        self._unsubscribe = revocations.subscribe(self._end_those)

    def __len__(self) -> int:
        return len(self._open)

    def add(self, principal: Principal, end: Callable[[Why], None], *, until_expiry: bool) -> OpenStream:
        """Watch over a stream; `until_expiry`: it also ends with the token it was opened with."""
        stream = OpenStream(principal, end)
        loop = asyncio.get_running_loop()
        if self._revocations.ended(principal) is not None:  # since it was let in
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
        """The gateway goes away: end every stream, so that its client comes back to another one."""
        self._unsubscribe()
        for stream in tuple(self._open):
            stream.end("closing")

    def _end_those(self, entries: Sequence[Entry]) -> None:
        for stream in tuple(self._open):
            for entry in entries:
                if entry.ends(stream.principal):
                    stream.end(_why(entry))
                    break


def _why(entry: Entry) -> Why:
    return "roles" if isinstance(entry, MembershipState) and entry.roles is not None else entry.kind
