"""Colors as text such as `#0b5cad` (sRGB)."""

from typing import Final

_LEAST_CONTRAST: Final = 4.5  # of text (WCAG 2.2, success criterion 1.4.3)


def carries_white_text(color: str) -> bool:
    """Whether white text can be read on the color (WCAG 2.2, "contrast ratio")."""
    channels = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels)
    return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) >= _LEAST_CONTRAST
