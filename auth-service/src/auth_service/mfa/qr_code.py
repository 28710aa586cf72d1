"""QR codes for authenticator apps, as SVG inside the page: the content security policy needs no source of images."""

from typing import Final

import segno

_QUIET_ZONE: Final = 4  # modules of white on each side (ISO/IEC 18004)


def qr_code(uri: str) -> str:
    """An `<svg>` element with the URI. It is black on white in a dark page too: not every reader takes the inverse."""
    code = segno.make_qr(uri, error="m")
    return code.svg_inline(dark="#000", light="#fff", border=_QUIET_ZONE, omitsize=True, svgclass=None, lineclass=None)
