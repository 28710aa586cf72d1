"""Conditional requests (RFC 9110, section 13): strong ETags from a row's version, 304 and 412."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Final

from fastapi import Depends, Header, Response

from shared.problems import PreconditionFailed, raises
from shared.web.early_responses import NotModified

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Preconditions:
    """The request's If-Match and If-None-Match, and the answer's ETag."""

    def __init__(self, if_match: Iterable[str], if_none_match: Iterable[str], response: Response) -> None:
        self._if_match = _tags(if_match)
        self._if_none_match = frozenset(tag.removeprefix("W/") for tag in _tags(if_none_match))
        self._response = response

    def shows(self, version: int | str, *, headers: Mapping[str, str] = _NO_HEADERS) -> None:
        """Name the version that the answer shows. Raises NotModified where the client has it, PreconditionFailed.

        `headers` are those of the whole answer that a 304 has too: Cache-Control, Vary (RFC 9110, section 15.4.5).
        """
        etag = self._checked(version)
        if self._if_none_match & {"*", etag}:
            raise NotModified(etag, headers)
        self.wrote(version)

    def wrote(self, version: int | str) -> None:
        """Name the version that a write made."""
        self._response.headers["ETag"] = f'"{version}"'

    def allow_write(self, version: int | str | None) -> None:
        """Raises PreconditionFailed where the client expects another version; None: there is nothing yet.

        Hold the row's lock when asking.
        """
        etag = self._checked(version)
        if version is not None and self._if_none_match & {"*", etag}:
            raise PreconditionFailed

    def _checked(self, version: int | str | None) -> str:
        """The version's tag. Raises PreconditionFailed where If-Match has another."""
        etag = f'"{version}"'
        if self._if_match and (version is None or not self._if_match & {"*", etag}):
            raise PreconditionFailed
        return etag


def _tags(headers: Iterable[str]) -> frozenset[str]:
    return frozenset(tag.strip() for header in headers for tag in header.split(",") if tag.strip())


_IfMatch = Annotated[list[str] | None, Header(alias="If-Match", description="412 if the current version differs.")]
_IfNoneMatch = Annotated[
    list[str] | None, Header(alias="If-None-Match", description="304 if this is the current version; 412 for a write.")
]


@raises(PreconditionFailed)
async def _preconditions(
    response: Response, if_match: _IfMatch = None, if_none_match: _IfNoneMatch = None
) -> Preconditions:
    return Preconditions(if_match or (), if_none_match or (), response)


Conditions = Annotated[Preconditions, Depends(_preconditions)]
