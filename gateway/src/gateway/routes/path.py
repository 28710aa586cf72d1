"""The path as both the gateway and the service behind it must read it.

The gateway decides on the decoded path and forwards the raw one; the two may not disagree about where a segment begins
or ends. So whatever one server might decode, merge or resolve differently from another is refused: encoded slashes,
backslashes and dots, dot segments, empty segments, control characters, and an escape inside an escape.
"""

import re
from typing import Final

_AMBIGUOUS: Final = re.compile(
    rb"//"
    rb"|/\.{1,2}(?:/|;|$)"
    rb"|[\x00-\x20\x7f-\xff\\]"
    rb"|%(?:[01][0-9a-fA-F]|2[eEfF]|5[cC]|7[fF])"
    rb"|%25[0-9a-fA-F]{2}"
    rb"|%(?![0-9a-fA-F]{2})"
)


def is_ambiguous(raw_path: bytes, path: str) -> bool:
    """Whether two readers could take `raw_path` for different paths; `path` is the same, decoded once."""
    return _AMBIGUOUS.search(raw_path) is not None or "�" in path
