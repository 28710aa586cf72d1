"""HEAD through the gateway: what GET would say, and then the connection's next request, whatever GET would send."""

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

from people import Person, Town


async def heads(url: str, person: Person, asked: Sequence[tuple[str, str]]) -> list[str]:
    """The answers to HEAD on these paths with these more headers, all on one connection, in lower case."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        answers = []
        for path, header in asked:
            lines = (f"HEAD {path} HTTP/1.1", f"Host: {address.netloc}", *lines_of(person, header), "", "")
            writer.write("\r\n".join(lines).encode())
            answers.append((await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 15)).decode().lower())
        return answers
    finally:
        writer.close()


def lines_of(person: Person, header: str) -> list[str]:
    return [f"Authorization: {person.headers['Authorization']}", *([header] if header else [])]


async def test_head_on_one_connection(town: Town) -> None:
    ann = await town.founder()
    file = await ann.upload("numbers.txt", b"0123456789")
    job = await ann.start_job("wait", seconds=60, steps=1)
    content, etag = f"/api/v1/files/{file['id']}/content", f'"{file["sha256"]}"'
    stream, whole, ranged, known, profile, nothing = await heads(
        town.urls[0],
        ann,
        [
            (f"/api/v1/jobs/{job}/events", ""),  # a stream without end, as long as the job runs
            (content, ""),
            (content, "Range: bytes=0-1"),
            (content, f"If-None-Match: {etag}"),
            ("/api/v1/profile", ""),
            (f"/api/v1/files/{job}", ""),
        ],
    )
    await ann.post(f"/api/v1/jobs/{job}/cancel", 202)
    assert stream.startswith("http/1.1 200 ")
    assert "content-type: text/event-stream" in stream
    for answer in (whole, ranged):
        assert answer.startswith("http/1.1 200 ")
        assert "content-length: 10\r\n" in answer
        assert f"etag: {etag}\r\n" in answer
    assert known.startswith("http/1.1 304 ")
    assert profile.startswith("http/1.1 200 ")
    assert 'etag: "1"\r\n' in profile
    assert nothing.startswith("http/1.1 404 ")
