"""What is wrong about requests: bytes, framing, headers, paths, bodies, and connections that end amid one."""

import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from shared.testing.broken_clients.client import BrokenClient, Script, Target, Wire, sends, vanishes


def _client_hello() -> bytes:
    hello = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake()
    return hello.read()


_RAW: Final[Mapping[str, bytes]] = {
    "garbage": b"\x00\xff\xfe\r\n\r\n garbage \r\n\r\n",
    "a TLS ClientHello": _client_hello(),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /livez\r\n\r\n",
    "HTTP/9.9": b"GET /livez HTTP/9.9\r\nHost: a\r\n\r\n",
    "a version that is none": b"GET /livez HTTP/x\r\nHost: a\r\n\r\n",
    "bare line feeds": b"GET /livez HTTP/1.1\nHost: a\n\n",
    "no Host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a method that is none": b"G\x01T /livez HTTP/1.1\r\nHost: a\r\n\r\n",
    "an unknown method": b"BREW /livez HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT": b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target elsewhere": b"GET http://b/livez HTTP/1.1\r\nHost: a\r\n\r\n",
    "the target *": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target without a slash": b"GET livez HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target in Latin-1": b"GET /caf\xe9?caf\xe9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a long target": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "a long query": b"GET /livez?" + b"a" * 60_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "a long header": b"GET /livez HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    "a long header name": b"GET /livez HTTP/1.1\r\nHost: a\r\n" + b"x" * 100_000 + b": 1\r\n\r\n",
    "10,000 headers": b"GET /livez HTTP/1.1\r\nHost: a\r\n" + b"X-More: and more\r\n" * 10_000 + b"\r\n",
    "a header without a colon": b"GET /livez HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
    "a header name with a space": b"GET /livez HTTP/1.1\r\nHost: a\r\nX Y: 1\r\n\r\n",
    "a folded header": b"GET /livez HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
    "NUL in a header": b"GET /livez HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "bytes above 127 in headers": b"GET /livez HTTP/1.1\r\nHost: a\r\nX: \xff\xfe\r\nCookie: \xe9=\xff;;=\r\n\r\n",
    "100 requests at once": b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" * 100,
    "a request after the last": b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" * 2,
}

_POSTS: Final[Mapping[str, tuple[tuple[str, ...], bytes]]] = {
    "a bad chunk size": (("Transfer-Encoding: chunked",), b"zz\r\n{}\r\n0\r\n\r\n"),
    "a negative chunk size": (("Transfer-Encoding: chunked",), b"-1\r\n{}\r\n0\r\n\r\n"),
    "a chunk size beyond 64 bits": (("Transfer-Encoding: chunked",), b"f" * 30 + b"\r\n{}\r\n0\r\n\r\n"),
    "a chunk longer than said": (("Transfer-Encoding: chunked",), b"1\r\n{}\r\n0\r\n\r\n"),
    "an endless chunk extension": (("Transfer-Encoding: chunked",), b"1;" + b"x" * 100_000),
    "a last chunk that is missing": (("Transfer-Encoding: chunked",), b"2\r\n{}\r\n"),
    "endless trailers": (("Transfer-Encoding: chunked",), b"2\r\n{}\r\n0\r\n" + b"X: 1\r\n" * 20_000),
    "an unknown coding": (("Transfer-Encoding: gzip, chunked",), b"2\r\n{}\r\n0\r\n\r\n"),
    "a short body": (("Content-Length: 100",), b"{}"),
    "two lengths": (("Content-Length: 2", "Content-Length: 3"), b"{}"),
    "a length and chunks": (("Content-Length: 2", "Transfer-Encoding: chunked"), b"0\r\n\r\n"),
    "a negative length": (("Content-Length: -1",), b"{}"),
    "a length that is no number": (("Content-Length: two",), b"{}"),
    "a length beyond 64 bits": (("Content-Length: " + "9" * 30,), b"{}"),
    "a length of 10 GB": (("Content-Length: 10000000000",), b"{}"),
    "an unknown expectation": (("Expect: 200-maybe", "Content-Length: 2"), b"{}"),
    "a body never asked for": (("Expect: 100-continue", "Content-Length: 2"), b""),
    "a body in gzip": (("Content-Encoding: gzip", "Content-Length: 2"), b"\x1f\x8b"),
    "a media type that is none": (("Content-Type: \xff/;;=", "Content-Length: 2"), b"{}"),
    "a body without a media type": (("Content-Length: 2",), b"{}"),
    "an upgrade with a body": (("Connection: Upgrade", "Upgrade: h2c", "Content-Length: 2"), b"{}"),
}

_JSON: Final[Mapping[str, bytes]] = {
    "broken JSON": b'{"name": ',
    "no JSON": b"hello",
    "an empty body": b"",
    "a list": b"[]",
    "a lone surrogate": b'{"name": "\\ud800", "\\udfff": 1}',
    "bytes that are not UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-16": '{"name": "a"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "NUL": b'{"name": "a\\u0000b"}',
    "NaN": b'{"name": NaN}',
    "1e400": b'{"name": 1e400}',
    "5,000 digits": b'{"name": ' + b"9" * 5000 + b"}",
    "deep lists": b"[" * 200_000 + b"]" * 200_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "2 MB": b'{"name": "' + b"a" * 2 * 1024 * 1024 + b'"}',
    "200,000 keys": b"{" + b",".join(b'"%d":1' % number for number in range(100_000)) + b"}",
}

_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "no token after Bearer": ("Authorization: Bearer ",),
    "a token of bytes": ("Authorization: Bearer \xff\xfe",),
    "a token of 30 kB": ("Authorization: Bearer " + "a." * 15_000,),
    "another scheme": ("Authorization: Basic \xff",),
    "two credentials": ("Authorization: Bearer a", "Authorization: Bearer b"),
    "a deadline that is none": ("X-Deadline: nan",),
    "a request id of bytes": ("X-Request-ID: \xff\xfe",),
    "a trace that is none": ("traceparent: 00-zz-zz-zz", "tracestate: \xff=,,="),
    "ranges that are none": ("Range: bytes=9-1,-,a-b", "If-Range: \xff"),
    "dates that are none": ("If-Modified-Since: yesterday", "If-Unmodified-Since: \xff"),
    "tags that are none": ('If-None-Match: W/"', "If-Match: \xff, *, "),
    "media types that are none": ("Accept: ;q=x, \xff/*, */", "Accept-Language: \xff;q=9", "Accept-Encoding: ;;"),
    "a tenant that is none": ("X-Tenant-ID: \xff\xfe",),
    "an origin that is none": ("Origin: \xff", "Access-Control-Request-Method: \xff"),
    "an event id that is none": ("Last-Event-ID: \xff",),
    "addresses that are none": ("X-Forwarded-For: \xff, ::1, a", "Forwarded: for=\xff", "X-Client-Address: \xff"),
}

_PATHS: Final = (
    "/%", "/%zz", "/%ff%fe", "/%00", "/%0d%0aX: 1", "/..%2f..%2fetc", "/../..", "//", "//evil/", "/;a=b", "/%c3%28",
    "/\\", "/%5c", "/%ed%a0%80", "/a//b", "/.", "/?", "/?%", "/?%zz=%ff", "/?a=%00", "/?a=%ed%a0%80", "/?=&&=&", "/#a",
)  # fmt: skip
_QUERIES: Final = (
    "limit=%zz", "limit=%ff", "limit=-1", "limit=1e9", "limit=" + "9" * 400, "limit=1&limit=2", "cursor=%00",
    "cursor=%ff%fe", "cursor=%ed%a0%80", "cursor=" + "A" * 5000, "sort=%00", "page=NaN", "%00=1", "%ff=1",
)  # fmt: skip


def _multipart(body: bytes, boundary: str = "; boundary=b") -> Callable[[Target], bytes]:
    def data(target: Target) -> bytes:
        lines = (f"Content-Type: multipart/form-data{boundary}", f"Content-Length: {len(body)}")
        return target.head("POST", target.multipart or target.post, *lines) + body

    return data


_PART: Final = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
_MULTIPART: Final[Mapping[str, Callable[[Target], bytes]]] = {
    "multipart without a boundary": _multipart(_PART + b"x\r\n--b--\r\n", ""),
    "multipart with an empty boundary": _multipart(_PART, "; boundary="),
    "multipart with a boundary of 5,000": _multipart(_PART, "; boundary=" + "b" * 5000),
    "multipart with a boundary of bytes": _multipart(_PART, "; boundary=\xff\xfe"),
    "a truncated part": _multipart(_PART + b"x"),
    "a truncated part head": _multipart(b"--b\r\nContent-Disp"),
    "no parts": _multipart(b"--b--\r\n"),
    "no multipart at all": _multipart(b"hello"),
    "a part without a disposition": _multipart(b"--b\r\n\r\nx\r\n--b--\r\n"),
    "a part head of 200 kB": _multipart(b"--b\r\nX: " + b"x" * 200_000 + b"\r\n\r\nx\r\n--b--\r\n"),
    "a part head of bytes": _multipart(
        b"--b\r\n\xff: form-data; name=\"\xff\"; filename*=x''%ff\r\n\r\nx\r\n--b--\r\n"
    ),
    "10,000 parts": _multipart(_PART.replace(b"--b", b"\r\n--b") * 10_000),
}


async def _answered_into_nothing(wire: Wire, target: Target) -> None:
    """Asks for many answers and resets while they come."""
    await wire.send(target.head("GET", target.get) * 50)
    await wire.answered()
    wire.reset()


def _leaves_a_stream(end: Callable[[Wire], None]) -> Script:
    async def script(wire: Wire, target: Target) -> None:
        await wire.send(target.head("GET", target.stream or ""))
        await wire.answered()
        end(wire)

    return script


async def _half_closes(wire: Wire, target: Target) -> None:
    await wire.send(target.head("GET", target.get))
    wire.half_close()
    await wire.listen()


async def _never_reads(wire: Wire, target: Target) -> None:
    await wire.send(target.head("GET", target.get) * 500)
    wire.reset()


def _literal(data: bytes) -> Callable[[Target], bytes]:
    return lambda _: data


def _post(lines: Sequence[str], body: bytes) -> Callable[[Target], bytes]:
    return lambda target: target.head(target.method, target.post, *lines) + body


def _json(body: bytes) -> Callable[[Target], bytes]:
    return lambda target: target.json(body)


def _get(more: str, *lines: str) -> Callable[[Target], bytes]:
    return lambda target: target.head("GET", target.get + more, *lines)


def _get_other(path: str) -> Callable[[Target], bytes]:
    return lambda target: target.head("GET", path)


def http_clients() -> Iterator[BrokenClient]:
    yield from (sends(name, _literal(data)) for name, data in _RAW.items())
    yield from (sends(name, _post(lines, body)) for name, (lines, body) in _POSTS.items())
    yield from (sends(name, _json(body)) for name, body in _JSON.items())
    yield from (sends(name, _get("", *lines)) for name, lines in _HEADERS.items())
    yield from (sends(f"the path {path}", _get_other(path)) for path in _PATHS)
    yield from (sends(f"a path and {path}", _get(path)) for path in _PATHS)
    yield from (sends(f"?{query[:20]}", _get(f"?{query}")) for query in _QUERIES)
    yield from (sends(name, data, "multipart") for name, data in _MULTIPART.items())
    yield from _vanishing()


def _vanishing() -> Iterator[BrokenClient]:
    moments: Mapping[str, Callable[[Target], bytes]] = {
        "nothing": lambda _: b"",
        "half a request line": lambda _: b"GET /liv",
        "half a head": lambda target: target.head("GET", target.get)[:-3],
        "a head": lambda target: target.head("GET", target.get),
        "half a body": lambda target: target.json(b'{"name": "a"}')[:-5],
        "half a chunk": lambda target: (
            target.head(target.method, target.post, "Transfer-Encoding: chunked") + b"ff\r\n{"
        ),
        "a whole request": lambda target: target.json(b"{}"),
        "a long body": lambda target: target.json(b'"' + b"a" * 900_000 + b'"')[:-1000],
    }
    for name, data in moments.items():
        for reset in (True, False):
            yield vanishes(name, data, reset=reset)
    for reset in (True, False):
        yield vanishes("half a part", _multipart(_PART + b"x" * 300_000), reset=reset, needs="multipart")
    yield BrokenClient("a reset amid the answers", _answered_into_nothing)
    yield BrokenClient("a reset before 500 answers", _never_reads)
    yield BrokenClient("a half-closed connection", _half_closes)
    yield BrokenClient("a reset while the answer streams", _leaves_a_stream(Wire.reset), "stream")
    yield BrokenClient("a half-closed stream", _leaves_a_stream(Wire.half_close), "stream")
    yield BrokenClient("a stream that is left", _leaves_a_stream(lambda _: None), "stream")
