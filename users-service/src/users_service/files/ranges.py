"""Byte ranges (RFC 9110, section 14): one range is served, several or what cannot be read are ignored."""

import re

from shared.problems import RangeNotSatisfiable

_ONE = re.compile(r"bytes=[ \t]*(\d{0,30})-(\d{0,30})[ \t]*", re.IGNORECASE | re.ASCII)  # 2**64 has 20 digits


def asked_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of the part to send; None: send all. Raises RangeNotSatisfiable."""
    match = _ONE.fullmatch(header) if header else None
    if match is None or match.group(1) == match.group(2) == "":
        return None
    first, last = match.group(1), match.group(2)
    if first == "":
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None  # not a range at all, so as if it were not there
    if start >= end:
        raise RangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})
    return start, end
