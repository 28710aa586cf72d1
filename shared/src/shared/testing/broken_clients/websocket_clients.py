"""What is wrong about WebSockets: handshakes, frames, messages, and connections that end amid one."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from shared.testing.broken_clients.client import BrokenClient, Target, Wire, sends, vanishes

_MASK: Final = b"\0\0\0\0"


def _frame(head: int, payload: bytes = b"", *, masked: bool = True) -> bytes:
    size, mask = len(payload), 0x80 if masked else 0
    if size < 126:
        length = bytes((mask | size,))
    elif size < 65536:
        length = bytes((mask | 126,)) + size.to_bytes(2, "big")
    else:
        length = bytes((mask | 127,)) + size.to_bytes(8, "big")
    return bytes((head,)) + length + (_MASK if masked else b"") + payload


def _text(value: object) -> bytes:
    return _frame(0x81, json.dumps(value).encode())


_FRAMES: Final[Mapping[str, bytes]] = {
    "an unmasked frame": _frame(0x81, b"{}", masked=False),
    "reserved bits": _frame(0xF1, b"{}"),
    "a reserved opcode": _frame(0x83, b"{}"),
    "a reserved control opcode": _frame(0x8B),
    "text that is not UTF-8": _frame(0x81, b"\xff\xfe"),
    "text that is half a character": _frame(0x01, b"\xe2\x82") + _frame(0x80),
    "a long ping": _frame(0x89, b"x" * 126),
    "a fragmented ping": _frame(0x09, b"x"),
    "a continuation of nothing": _frame(0x80, b"x"),
    "a message inside another": _frame(0x01, b"x") + _frame(0x81, b"{}"),
    "a message of 2 MiB": _frame(0x81, b"x" * 2 * 1024 * 1024),
    "fragments of 2 MiB": _frame(0x01) + _frame(0x00, b"x" * 1000) * 2000,
    "a length of 2^63": b"\x81\xff" + b"\xff" * 8 + _MASK,
    "a length that is too long": b"\x81\xfe\x00\x02" + _MASK + b"{}",
    "binary": _frame(0x82, b"\0\1"),
    "close code 999": _frame(0x88, b"\x03\xe7"),
    "close code 1005": _frame(0x88, b"\x03\xed"),
    "close code 1006": _frame(0x88, b"\x03\xee"),
    "close code 5000": _frame(0x88, b"\x13\x88"),
    "half a close code": _frame(0x88, b"\x03"),
    "a close reason that is not UTF-8": _frame(0x88, b"\x03\xe8\xff\xfe"),
    "a message after its close": _frame(0x88, b"\x03\xe8") + _text({"type": "ping"}),
    "a close inside a message": _frame(0x01, b"x") + _frame(0x88, b"\x03\xe8"),
    "pongs that answer nothing": _frame(0x8A, b"x") * 100,
    "10,000 pings": _frame(0x89) * 10_000,
    "HTTP": b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n",
    "JSON that is broken": _frame(0x81, b'{"type": ') + _frame(0x81, b"hello") + _frame(0x81, b""),
    "JSON with a lone surrogate": _frame(0x81, b'{"type": "send", "text": "\\ud800"}'),
    "JSON with a huge number": _frame(0x81, b'{"type": "read", "seq": ' + b"9" * 5000 + b"}"),
    "deep JSON": _frame(0x81, b"[" * 30_000 + b"]" * 30_000),
    "frames of no type": _text({}) + _text([]) + _text(1) + _text({"type": 1}) + _text({"type": "x" * 60_000}),
}

_HANDSHAKES: Final[Mapping[str, tuple[str, ...]]] = {
    "no key": ("Sec-WebSocket-Key",),
    "a key that is not base64": ("Sec-WebSocket-Key: \xff\xfe!",),
    "a short key": ("Sec-WebSocket-Key: AAAA",),
    "two keys": ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",) * 2,
    "no version": ("Sec-WebSocket-Version",),
    "version 12": ("Sec-WebSocket-Version: 12",),
    "a version that is none": ("Sec-WebSocket-Version: \xff",),
    "no subprotocol": ("Sec-WebSocket-Protocol",),
    "a subprotocol of bytes": ("Sec-WebSocket-Protocol: \xff, ,,",),
    "an extension that is none": ("Sec-WebSocket-Extensions: \xff; ;=,",),
    "a window that is none": ("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=99",),
    "an upgrade that is not asked for": ("Connection: keep-alive",),
    "an upgrade to something else": ("Upgrade: h2c",),
    "a handshake with a body": ("Content-Length: 5",),
    "a bearer of bytes": ("Sec-WebSocket-Protocol: flotilla.v1, bearer.\xff",),
}


def _on_socket(name: str, frames: bytes, end: str = "") -> BrokenClient:
    """A client of the WebSocket that sends bytes after the handshake."""

    async def script(wire: Wire, target: Target) -> None:
        await wire.send(target.handshake())
        await wire.answered()
        await wire.send(frames)
        if end == "a reset":
            wire.reset()
        elif end == "half a close":
            wire.half_close()
            await wire.listen()
        elif not end:
            await wire.listen()

    return BrokenClient(f"WebSocket: {name}{f', then {end}' if end else ''}", script, "websocket")


def _handshake(*lines: str, query: str = "", then: bytes = b"") -> Callable[[Target], bytes]:
    return lambda target: target.at(f"{target.websocket}{query}").handshake(*lines) + then


def websocket_clients() -> Iterator[BrokenClient]:
    for name, lines in _HANDSHAKES.items():
        yield sends(f"WebSocket: {name}", _handshake(*lines), "websocket")
    for query in ("?\xe9", "?%zz=%ff", "?ticket=%00", "?" + "a" * 60_000):
        yield sends(f"WebSocket: the query {query[:20]}", _handshake(query=query), "websocket")
    early = _frame(0x89) + _text({"type": "ping"}) + _frame(0x88)
    yield sends("WebSocket: frames with the handshake", _handshake(then=early), "websocket")
    yield sends("a handshake on a plain path", Target.plain_handshake)
    for reset in (True, False):
        yield vanishes("WebSocket: a handshake", Target.handshake, reset=reset, needs="websocket")
    for name, frames in _FRAMES.items():
        yield _on_socket(name, frames)
    for end in ("a reset", "half a close", "nothing"):
        yield _on_socket("no frame", b"", end)
        yield _on_socket("half a frame", _frame(0x81, b"x" * 100)[:50], end)
        yield _on_socket("50 frames", _text({"type": "ping", "ref": 1}) * 50, end)
