"""multipart/form-data (RFC 7578) as it arrives: each chunk in, what it completes out; nothing is spooled."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from shared.field_errors import NUL_CHARACTER, FieldRule
from shared.problems import InvalidInput, MalformedRequest, UnsupportedMediaType

NOT_UTF8 = FieldRule("not_utf8", "Must be UTF-8.")

_MAX_HEADERS: Final = 8
_MAX_HEADER_BYTES: Final = 4096
_PARAMETER: Final = re.compile(r""";\s*([^=;\s]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)""")
_EXTENDED: Final = re.compile(r"utf-8'[^']*'(.*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Begun:
    """A part begins; `filename` is None for a plain field."""

    name: str
    filename: str | None


@dataclass(frozen=True, slots=True)
class Data:
    """More of the part's content."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The part is complete."""


Piece = Begun | Data | Ended


class FormParser:
    """python-multipart's parser, driven directly."""

    def __init__(self, content_type: str) -> None:
        """Raises UnsupportedMediaType, or MalformedRequest where the boundary is missing or too long."""
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data":
            raise UnsupportedMediaType("An upload is multipart/form-data.")
        if not options.get(b"boundary"):
            raise MalformedRequest("The multipart body's boundary is not named in Content-Type.")
        self._pieces: list[Piece] = []
        self._headers: dict[bytes, bytes] = {}
        self._field = self._value = b""
        self.complete = False
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._headers.clear,
                    "on_header_begin": self._on_header_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": lambda: self._pieces.append(Ended()),
                    "on_end": self._on_end,
                },
                max_header_count=_MAX_HEADERS,
                max_header_size=_MAX_HEADER_BYTES,
            )
        except FormParserError:
            raise MalformedRequest("The multipart body's boundary is too long.") from None

    def feed(self, chunk: bytes) -> list[Piece]:
        """What `chunk` completes, in order. Raises MalformedRequest, or InvalidInput for a name that is not UTF-8."""
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise MalformedRequest("The multipart body is malformed.") from None
        pieces, self._pieces = self._pieces, []
        return pieces

    def _on_header_begin(self) -> None:
        self._field = self._value = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._field.lower()] = self._value

    def _on_headers_finished(self) -> None:
        # latin-1 and back: the parser's own way to hand over bytes that are UTF-8 (RFC 7578, section 5.1)
        disposition = self._headers.get(b"content-disposition", b"").decode("latin-1")
        kind, options = parse_options_header(disposition)
        if kind != b"form-data" or b"name" not in options:
            raise MalformedRequest("A part of the multipart body has no name.")
        filename = _extended_filename(disposition)
        if filename is None and b"filename" in options:
            filename = _text(options[b"filename"])
        self._pieces.append(Begun(_text(options[b"name"]), filename))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(Data(data[start:end]))

    def _on_end(self) -> None:
        self.complete = True


def _extended_filename(disposition: str) -> str | None:
    """`filename*` (RFC 8187), or None. It wins over `filename`, in which .NET sends an encoded word beside it.

    RFC 7578, section 4.2, forbids it in forms, so python-multipart ignores it; .NET and older Python clients send it.
    Raises InvalidInput for a charset other than UTF-8.
    """
    sent = next((value for name, value in _PARAMETER.findall(disposition) if name.lower() == "filename*"), None)
    if sent is None:
        return None
    found = _EXTENDED.fullmatch(sent.strip().strip('"'))
    if found is None:
        raise InvalidInput(errors=[NOT_UTF8.at("#/file")])
    return decoded(unquote_to_bytes(found[1]), "#/file")


def _text(value: bytes) -> str:
    """A name as browsers write it: UTF-8, with quotes and line ends percent-encoded (WHATWG HTML, 4.10.22.7)."""
    text = decoded(value, "#/file")
    return text.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def decoded(value: bytes, pointer: str) -> str:
    """UTF-8 without NUL or surrogates. Raises InvalidInput."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(errors=[NOT_UTF8.at(pointer)]) from None
    if "\0" in text:
        raise InvalidInput(errors=[NUL_CHARACTER.at(pointer)])
    return text
