"""Content that is the same for all clients, compressed once and served in the form that the client accepts."""

import asyncio
import gzip
import hashlib
import mimetypes
import re
from collections.abc import Iterable, Iterator
from importlib.resources.abc import Traversable
from typing import Final

from fastapi import Request, Response

from shared.web.conditional import Preconditions

_SHARED: Final = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
_REFUSED: Final = re.compile(r"q\s*=\s*0(\.0*)?")


class Compressed:
    """A body in both forms, each with an ETag of its own: they differ byte for byte (RFC 9110, section 8.8.3.3)."""

    __slots__ = ("_gzipped", "_media_type", "_plain", "_version")

    def __init__(self, body: bytes, media_type: str) -> None:
        self._plain, self._media_type = body, media_type
        self._gzipped = gzip.compress(body, mtime=0)
        self._version = hashlib.sha256(body).hexdigest()[:32]

    def response(self, request: Request, conditions: Preconditions) -> Response:
        """Raises NotModified where the client has this form already."""
        if not accepts_gzip(request.headers.getlist("accept-encoding")):
            return self._form(self._plain, self._version, {}, conditions)
        return self._form(self._gzipped, f"{self._version}-gzip", {"Content-Encoding": "gzip"}, conditions)

    def _form(self, body: bytes, version: str, headers: dict[str, str], conditions: Preconditions) -> Response:
        conditions.shows(version, headers=_SHARED)
        return Response(body, media_type=self._media_type, headers={"ETag": f'"{version}"', **_SHARED, **headers})


class CompressedFiles:
    """The files of a folder, each read and compressed when it is first asked for; most gateways are asked for none."""

    def __init__(self, folder: Traversable) -> None:
        self._files = dict(_files(folder, ""))
        self._read: dict[str, Compressed] = {}

    async def find(self, path: str) -> Compressed | None:
        """The file at `path` below the folder, None if there is none."""
        if path not in self._read and path in self._files:
            self._read[path] = await asyncio.to_thread(_compressed, self._files[path])
        return self._read.get(path)


def accepts_gzip(accept_encoding: Iterable[str]) -> bool:
    """Whether the headers allow gzip (RFC 9110, section 12.5.3); a client that sends none gets plain bytes."""
    accepted: dict[str, bool] = {}
    for part in ",".join(accept_encoding).split(","):
        coding, *parameters = (piece.strip().lower() for piece in part.split(";"))
        accepted[coding] = not any(_REFUSED.fullmatch(parameter) for parameter in parameters)
    return accepted.get("gzip", accepted.get("*", False))


def _compressed(file: Traversable) -> Compressed:
    return Compressed(file.read_bytes(), mimetypes.guess_type(file.name)[0] or "text/plain")


def _files(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry
