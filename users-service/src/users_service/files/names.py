"""A file's name, made safe, and its media type, detected from its bytes."""

import codecs
import re
import unicodedata
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import quote

import puremagic

from shared.text import has_visible

SNIFFED_BYTES: Final = 8192
MAX_NAME: Final = 200
UNKNOWN: Final = "application/octet-stream"

# These are text, but their beginning identifies them.
_BY_BEGINNING: Final = frozenset(
    {"text/html", "application/xml", "image/svg+xml", "application/pdf", "application/postscript", "application/rtf"}
)
# Text says nothing of its kind in its first bytes; these names may say it, for none of them is run by a browser.
_TEXT_BY_SUFFIX: Final = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".md": "text/markdown",
    ".tsv": "text/tab-separated-values",
}
_ZIP: Final = b"PK\x03\x04"
_CONTROLS: Final = frozenset(range(32)) - set(b"\t\n\r\f")
_UNSAFE: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f"
    r"\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff"  # turns the line, ends it, or does not show
    r'"*:<>?|]+'
)


def safe_name(sent: str) -> str:
    """The last segment of what the client calls the file, without what file systems, terminals or headers trip over."""
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", sent)[-1])
    name = _UNSAFE.sub("_", name).strip(" .")
    suffix = PurePosixPath(name).suffix[:20]
    if len(name) > MAX_NAME:
        name = name[: MAX_NAME - len(suffix)] + suffix
    return name if has_visible(name) else "file"


def disposition(name: str) -> str:
    """Content-Disposition that always saves and never shows: an ASCII name and the true one (RFC 6266, RFC 8187)."""
    plain = "".join(one if " " <= one <= "~" and one not in '"\\%' else "_" for one in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def content_type(head: bytes, name: str) -> str:
    """The media type by the first bytes; the name only chooses among the types that the bytes allow."""
    suffix = PurePosixPath(name).suffix.lower()
    text = _is_text(head)
    matches = _magic(head.lstrip() if text else head)
    if text:
        found = matches[0][0] if matches else ""
        return found if found in _BY_BEGINNING else _TEXT_BY_SUFFIX.get(suffix, "text/plain")
    named = [kind for kind, extension in matches if extension == suffix]
    if named:
        return named[0]
    if head.startswith(_ZIP):
        return "application/zip"
    return matches[0][0] if matches else UNKNOWN


def _magic(head: bytes) -> list[tuple[str, str]]:
    """Media types and suffixes that fit the bytes, the likeliest first."""
    try:
        found = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):  # nothing fits; nothing there
        return []
    return [(match.mime_type, match.extension) for match in found if match.mime_type]


def _is_text(head: bytes) -> bool:
    """Whether the bytes are UTF-8 text as far as they go; the last character may be cut."""
    if not head or not _CONTROLS.isdisjoint(head):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True
