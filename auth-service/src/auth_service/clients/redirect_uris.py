"""Redirect URIs: which may be registered, and which one a request may name (RFC 9700, section 4.1; RFC 8252)."""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import SplitResult, urlsplit

from shared.field_errors import FieldRule

MAX_LENGTH: Final = 500

_VISIBLE_ASCII: Final = re.compile(r"[!-~]+")
_PRIVATE_SCHEME: Final = re.compile(r"[a-z][a-z0-9+\-]*(\.[a-z0-9+\-]+)+")
_LOOPBACK: Final = ("127.0.0.1", "[::1]")
_LOOPBACK_PORT: Final = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\]))(?::[0-9]{1,5})?(/.*)?")

REDIRECT_URI: Final = FieldRule(
    "redirect_uri",
    "Must be an absolute https URL without fragment or user. Native clients may have http for loopback addresses, "
    "and a private scheme such as com.example.app.",
)


def registered(uri: str, *, native: bool) -> str:
    """The URI itself if a client may register it. Raises ValueError.

    Plain http is for native clients at a loopback address alone (RFC 9700, section 2.6; RFC 8252, section 7.3).
    """
    if not _is_acceptable(uri, native=native):
        raise REDIRECT_URI.broken()
    return uri


def registered_logout_uri(uri: str) -> str:
    """The URI itself if logouts may be sent there: an https URL, or a loopback one. Raises ValueError."""
    if urlsplit(uri).scheme not in ("http", "https"):
        raise REDIRECT_URI.broken()
    return registered(uri, native=True)


def is_redirect_uri(uri: str, registered_uris: Iterable[str]) -> bool:
    """Whether a request may name `uri`: equal, character by character, to a registered one.

    The port of a loopback IP address alone may be another one: a native app gets it from its system (RFC 8252, 7.3).
    """
    wanted = _without_port(uri)
    return any(uri == known or (wanted is not None and wanted == _without_port(known)) for known in registered_uris)


def is_claimed(uri: str) -> bool:
    """Whether the URI's owner alone receives what is sent to it: https, not a loopback port or a private scheme."""
    return uri.startswith("https://")


def form_action(uri: str) -> str:
    """The URI's source for a Content-Security-Policy: its origin, or its scheme alone."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") else f"{parts.scheme}:"


def _without_port(uri: str) -> str | None:
    """A loopback URI without its port; None for any other."""
    match = _LOOPBACK_PORT.fullmatch(uri)
    return None if match is None else match[1] + (match[2] or "")


def _is_acceptable(uri: str, *, native: bool) -> bool:
    if len(uri) > MAX_LENGTH or _VISIBLE_ASCII.fullmatch(uri) is None or "#" in uri or "\\" in uri or "*" in uri:
        return False
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return False
    if parts.scheme in ("http", "https"):
        return _is_web(parts, native=native)
    return native and not parts.netloc and uri[: len(parts.scheme)] == parts.scheme and _is_private(parts)


def _is_web(parts: SplitResult, *, native: bool) -> bool:
    if not parts.hostname or "@" in parts.netloc:
        return False
    host = parts.netloc.partition(":")[0] if not parts.netloc.startswith("[") else parts.netloc.partition("]")[0] + "]"
    return parts.scheme == "https" or (native and host in (*_LOOPBACK, "localhost"))


def _is_private(parts: SplitResult) -> bool:
    """A scheme in the form of a domain name, such as com.example.app (RFC 8252, section 7.1)."""
    return _PRIVATE_SCHEME.fullmatch(parts.scheme) is not None
