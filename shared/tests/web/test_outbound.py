"""Requests to addresses that users chose: which are refused, what is pinned, and how much of an answer is taken."""

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.outbound import (
    AddressRefused,
    AnswerTooLarge,
    AnswerUnreadable,
    Outbound,
    OutboundError,
    OutboundSettings,
    Redirected,
    TimedOut,
    Unreachable,
)
from shared.public_addresses import is_public

Answering = Callable[[asyncio.StreamWriter], Awaitable[None]]

PUBLIC = ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700:4700::1111", "64:ff9b::101:101"]
NOT_PUBLIC = [
    "0.0.0.0",  # noqa: S104 - an address that is refused, not one that is bound
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",  # a cloud's metadata service
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:1.1.1.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700:4700::1111%eth0",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_ordinary_addresses_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_of_special_use_are_not(address: str) -> None:
    assert not is_public(ip_address(address))


class Script:
    """A server that answers by a script; `heads` are the requests that it received."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.answering: Answering = plainly(200, b'{"issuer": "x"}')

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            length = [line[15:] for line in self.heads[-1].lower().split("\r\n") if line.startswith("content-length:")]
            self.bodies.append(await reader.readexactly(int(length[0]) if length else 0))
            await self.answering(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def plainly(status: int, body: bytes, *headers: str) -> Answering:
    async def answer(writer: asyncio.StreamWriter) -> None:
        head = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *headers]
        writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return answer


class Names:
    """A name server whose answers change; `asked` are the names that were looked up."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


@asynccontextmanager
async def listening(
    script: Script, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    server = await asyncio.start_server(script.connected, host, port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def port(script: Script) -> AsyncIterator[int]:
    async with listening(script) as found:
        yield found


def outbound(names: Names, *, development: bool = True, settings: OutboundSettings | None = None) -> Outbound:
    return Outbound(settings or OutboundSettings(), development=development, resolver=names)


async def test_a_request_goes_to_the_address_that_was_checked_and_never_asks_again(script: Script, port: int) -> None:
    """DNS rebinding: the second answer of the name server is another machine's."""
    names, other = Names(["127.0.0.1"], ["127.0.0.2"]), Script()
    async with listening(other, host="127.0.0.2", port=port):
        answer = await outbound(names).send("GET", f"http://issuer.example:{port}/a?b=c")
    assert (answer.status, answer.content) == (200, b'{"issuer": "x"}')
    assert (names.asked, other.heads) == (["issuer.example"], [])
    assert script.heads[0].startswith("GET /a?b=c HTTP/1.1\r\n")
    assert f"host: issuer.example:{port}\r\n" in script.heads[0].lower()


async def test_a_body_is_sent(script: Script, port: int) -> None:
    await outbound(Names(["127.0.0.1"])).send("POST", f"http://a.example:{port}/", content=b"a=b")
    assert script.bodies == [b"a=b"]


@pytest.mark.parametrize("address", NOT_PUBLIC)
async def test_a_host_with_one_address_inside_is_refused(address: str) -> None:
    with pytest.raises(AddressRefused):
        await outbound(Names(["1.1.1.1", address]), development=False).send("GET", "https://issuer.example/")


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example/",
        "ftp://issuer.example/",
        "file:///etc/passwd",
        "https:///path",
        "https://user:secret@issuer.example/",
        "https://issuer.example/#fragment",
        "https://issuer.example:0/",
        "//issuer.example/",
        "issuer.example",
        "https://iss\nuer.example/",
        "https://" + "a" * 3000,
    ],
)
async def test_a_url_that_is_not_plain_https_is_refused(url: str) -> None:
    names = Names(["1.1.1.1"])
    with pytest.raises(AddressRefused):
        await outbound(names, development=False).send("GET", url)
    assert names.asked == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]", "[::ffff:7f00:1]"]
)
async def test_every_spelling_of_this_machine_is_refused_outside_development(
    host: str, port: int, script: Script
) -> None:
    with pytest.raises((AddressRefused, Unreachable)):
        await Outbound(OutboundSettings(), development=False).send("GET", f"https://{host}:{port}/")
    assert script.heads == []


async def test_plain_http_reaches_this_machine_alone() -> None:
    with pytest.raises(AddressRefused):
        await outbound(Names(["1.1.1.1"])).send("GET", "http://issuer.example/")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_refused(status: int, script: Script, port: int) -> None:
    script.answering = plainly(status, b"", f"Location: http://127.0.0.1:{port}/secret")
    with pytest.raises(Redirected):
        await outbound(Names(["127.0.0.1"])).send("GET", f"http://a.example:{port}/")
    assert len(script.heads) == 1


async def test_a_huge_answer_is_not_read(script: Script, port: int) -> None:
    sent = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            sent += 65536
            await writer.drain()

    script.answering = endless
    with pytest.raises(AnswerTooLarge):
        await outbound(Names(["127.0.0.1"])).send("GET", f"http://a.example:{port}/", max_bytes=100_000)
    assert sent < 50_000_000  # what the sockets' buffers take


async def test_an_answer_that_trickles_ends_at_the_time_limit(script: Script, port: int) -> None:
    async def trickling(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    script.answering = trickling
    with pytest.raises(TimedOut):
        await outbound(Names(["127.0.0.1"])).send("GET", f"http://a.example:{port}/", timeout_s=0.2)


async def test_a_slow_name_server_counts(port: int) -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(TimedOut):
        await Outbound(OutboundSettings(), development=True, resolver=never).send(
            "GET", f"http://a.example:{port}/", timeout_s=0.05
        )


async def test_a_compressed_answer_is_refused(script: Script, port: int) -> None:
    """No compression is offered, so that a small answer cannot become a large one."""
    script.answering = plainly(200, b"x", "Content-Encoding: gzip")
    with pytest.raises(AnswerUnreadable):
        await outbound(Names(["127.0.0.1"])).send("GET", f"http://a.example:{port}/")
    assert "accept-encoding: identity\r\n" in script.heads[0].lower()


@pytest.mark.parametrize("body", [b"[1]", b"<html>", b"", b"\xff"])
async def test_json_is_an_object(body: bytes, script: Script, port: int) -> None:
    script.answering = plainly(200, body)
    with pytest.raises(AnswerUnreadable):
        await outbound(Names(["127.0.0.1"])).json(f"http://a.example:{port}/")


async def test_a_connection_that_breaks_off_is_an_error(script: Script, port: int) -> None:
    async def breaking(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    script.answering = breaking
    with pytest.raises(Unreachable):
        await outbound(Names(["127.0.0.1"])).send("GET", f"http://a.example:{port}/")


async def test_a_second_address_is_tried_where_the_first_refuses_connections(script: Script, port: int) -> None:
    answer = await outbound(Names(["127.0.0.3", "127.0.0.1"])).send("GET", f"http://a.example:{port}/")
    assert answer.status == 200


async def test_an_unknown_name_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        await Outbound(OutboundSettings(), development=True).send("GET", "https://name.invalid/")


async def test_no_proxy_of_the_environment_is_used(script: Script, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await outbound(Names(["127.0.0.1"])).send("GET", f"http://a.example:{port}/")).status == 200


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server shows for `name`, and a client that trusts exactly that certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    both = folder / f"{name}.pem"
    both.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(both)
    return server, ssl.create_default_context(cadata=signed.public_bytes(serialization.Encoding.PEM).decode())


async def test_tls_is_verified_for_the_name_not_the_address(tmp_path: Path, script: Script) -> None:
    server, trusting = certificate(tmp_path, "issuer.example")
    async with listening(script, tls=server) as port:
        client = Outbound(OutboundSettings(), development=True, resolver=Names(["127.0.0.1"]), tls=trusting)
        assert (await client.send("GET", f"https://issuer.example:{port}/")).status == 200
        with pytest.raises(Unreachable):
            await client.send("GET", f"https://other.example:{port}/")
        stranger = Outbound(OutboundSettings(), development=True, resolver=Names(["127.0.0.1"]))
        with pytest.raises(Unreachable):
            await stranger.send("GET", f"https://issuer.example:{port}/")
    assert len(script.heads) == 1


async def test_a_private_network_is_reached_only_where_the_operator_names_it() -> None:
    open_to = OutboundSettings(networks=["10.1.0.0/16", "169.254.0.0/16"])
    for address, refused in (("10.2.0.1", True), ("169.254.169.254", True), ("10.1.0.1", False)):
        names = Names([address])
        with pytest.raises(OutboundError) as caught:
            await outbound(names, development=False, settings=open_to).send(
                "GET", "https://issuer.example/", timeout_s=0.05
            )
        assert (caught.type is AddressRefused) is refused, address


def test_production_refuses_what_would_open_this_machine() -> None:
    assert OutboundSettings(networks=["10.0.0.0/8"]).production_errors() == []
    assert len(OutboundSettings(networks=["127.0.0.0/8", "0.0.0.0/0", "fe80::/64"]).production_errors()) == 3
    assert len(OutboundSettings(allow_loopback=True).production_errors()) == 1
