"""One upload as its parts arrive: text fields kept, the file's bytes counted, hashed and passed on at once."""

import hashlib
from dataclasses import dataclass
from typing import Final, Protocol

import orjson

from shared.field_errors import EXTRA_FORBIDDEN, MISSING, REPEATED_FIELD, STRING_TOO_LONG, FieldRule
from shared.problems import BodyTooLarge, InvalidInput, MalformedRequest
from shared.text import composed, one_line
from shared.web.json_input import escape
from users_service.files.multipart import Begun, Data, FormParser, Piece, decoded
from users_service.files.names import SNIFFED_BYTES, content_type, safe_name

WRONG_KIND = FieldRule("wrong_kind", "Must have a filename if it is `file`, and none otherwise.")

MAX_DESCRIPTION: Final = 1000
MAX_CATEGORY: Final = 50
OVERHEAD_BYTES: Final = 64 * 1024
"""What a form may weigh besides its file: both texts, part headers, boundaries."""

_TEXTS: Final = {"description": MAX_DESCRIPTION, "category": MAX_CATEGORY}
_STORED_FORMS: Final = {"description": composed, "category": one_line}
_BYTES_A_CHARACTER: Final = 4  # UTF-8's most


class Sink(Protocol):
    async def write(self, content: bytes, /) -> int: ...


@dataclass(frozen=True, slots=True)
class Received:
    """A file that has arrived whole."""

    name: str
    content_type: str
    size_bytes: int
    sha256: str
    description: str | None
    category: str | None

    @property
    def fingerprint(self) -> bytes:
        """Two uploads are equal when their fields and sha256 are."""
        return orjson.dumps([self.name, self.description, self.category, self.sha256])


class Upload:
    """Feed it the body; `received` is what came. Raises a problem as soon as something is wrong with it."""

    def __init__(self, content_type_header: str, sink: Sink, max_bytes: int) -> None:
        self._parser = FormParser(content_type_header)
        self._sink, self._max_bytes = sink, max_bytes
        self.body_bytes = 0
        self._size, self._hash, self._head = 0, hashlib.sha256(), b""
        self._filename: str | None = None
        self._texts: dict[str, str] = {}
        self._part, self._text = "", bytearray()

    async def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body. Raises BodyTooLarge, MalformedRequest, InvalidInput."""
        self.body_bytes += len(chunk)
        if self.body_bytes > self._max_bytes + OVERHEAD_BYTES:
            raise too_large(self._max_bytes)
        for piece in self._parser.feed(chunk):
            await self._take(piece)

    def received(self) -> Received:
        """The whole upload, after the last chunk. Raises MalformedRequest where the form does not end."""
        if not self._parser.complete:
            raise MalformedRequest("The multipart body ends before its closing boundary.")
        if self._filename is None:
            raise _refused(MISSING, "file")
        name = safe_name(self._filename)
        return Received(
            name=name,
            content_type=content_type(self._head, name),
            size_bytes=self._size,
            sha256=self._hash.hexdigest(),
            description=self._texts.get("description") or None,
            category=self._texts.get("category") or None,
        )

    async def _take(self, piece: Piece) -> None:
        match piece:
            case Begun():
                self._begin(piece)
            case Data(content) if self._part == "file":
                await self._pass_on(content)
            case Data(content):
                self._collect(content)
            case _ if self._part != "file":
                self._texts[self._part] = self._checked_text()

    def _begin(self, part: Begun) -> None:
        if part.name not in ("file", *_TEXTS):
            raise _refused(EXTRA_FORBIDDEN, _pointed(part.name))
        if part.name in self._texts or (part.name == "file" and self._filename is not None):
            raise _refused(REPEATED_FIELD, part.name)
        if (part.filename is None) == (part.name == "file"):
            raise _refused(WRONG_KIND, part.name)
        if part.filename is not None:
            self._filename = part.filename
        self._part, self._text = part.name, bytearray()

    async def _pass_on(self, content: bytes) -> None:
        self._size += len(content)
        if self._size > self._max_bytes:
            raise too_large(self._max_bytes)
        if len(self._head) < SNIFFED_BYTES:
            self._head += content[: SNIFFED_BYTES - len(self._head)]
        self._hash.update(content)
        await self._sink.write(content)

    def _collect(self, content: bytes) -> None:
        self._text += content
        if len(self._text) > _TEXTS[self._part] * _BYTES_A_CHARACTER:
            raise self._too_long()

    def _checked_text(self) -> str:
        text = _STORED_FORMS[self._part](decoded(bytes(self._text), f"#/{self._part}"))
        if len(text) > _TEXTS[self._part]:
            raise self._too_long()
        return text

    def _too_long(self) -> InvalidInput:
        return InvalidInput(errors=[STRING_TOO_LONG.at(f"#/{self._part}", max_length=_TEXTS[self._part])])


def too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"A file has at most {max_bytes} bytes.")


def _pointed(name: str) -> str:
    return escape(name[:50])


def _refused(rule: FieldRule, field: str) -> InvalidInput:
    return InvalidInput(errors=[rule.at(f"#/{field}")])
