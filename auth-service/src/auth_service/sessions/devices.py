"""What a person recognizes a session by, read from its User-Agent header (RFC 9110, section 10.1.5).

A hint, since a client sends what it likes: the most common browsers and systems, and the product name of any other
client.
"""

import re
from typing import Final

# The first match counts: browsers also name those that they resemble.
_BROWSERS: Final = {
    "Edge": r"Edg(e|A|iOS)?/",
    "Opera": r"OPR/",
    "Samsung Internet": r"SamsungBrowser/",
    "Firefox": r"(Firefox|FxiOS)/",
    "Chrome": r"(Chrome|CriOS)/",
    "Safari": r"Version/.*Safari/",
}
_SYSTEMS: Final = {
    "iPhone": r"iPhone",
    "iPad": r"iPad",
    "Android": r"Android",
    "Windows": r"Windows",
    "ChromeOS": r"CrOS",
    "macOS": r"Macintosh",
    "Linux": r"Linux|X11",
}
_PRODUCT: Final = re.compile(r"[A-Za-z][\w.+-]*(?=/)", re.ASCII)


def readable(user_agent: str | None) -> str | None:
    """Such as `Firefox on Windows` or `curl`; the header as it is if it names nothing known, None without one."""
    if user_agent is None:
        return None
    if user_agent.startswith("Mozilla/"):
        browser, system = _first(_BROWSERS, user_agent), _first(_SYSTEMS, user_agent)
        return f"{browser or 'A browser'} on {system}" if system else browser or user_agent
    product = _PRODUCT.match(user_agent)
    return product[0] if product else user_agent


def _first(patterns: dict[str, str], text: str) -> str | None:
    return next((name for name, pattern in patterns.items() if re.search(pattern, text)), None)
