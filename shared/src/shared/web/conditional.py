"""Conditional requests (RFC 9110, section 13): strong ETags from a row's version, 304 and 412."""

from collections.abc import Iterable
from typing import Annotated

from fastapi import Depends, Header, Response

from shared.problems import PreconditionFailed
from shared.web.early_responses import NotModified


class Preconditions:
    """The request's If-Match and If-None-Match, and the answer's ETag."""

    def __init__(self, if_match: Iterable[str], if_none_match: Iterable[str], response: Response) -> None:
        self._if_match = _tags(if_match)
        self._if_none_match = frozenset(tag.removeprefix("W/") for tag in _tags(if_none_match))
        self._response = response

    def shows(self, version: int | str, *, cache_control: str | None = None) -> None:
        """Name the version that the answer shows. Raises NotModified where the client has it, PreconditionFailed.

        `cache_control` is what the whole answer would say, for a 304 says it too.
        """
        etag = self._checked(version)
        if self._if_none_match & {"*", etag}:
            raise NotModified(etag, cache_control)
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


async def _preconditions(
    response: Response, if_match: _IfMatch = None, if_none_match: _IfNoneMatch = None
) -> Preconditions:
    return Preconditions(if_match or (), if_none_match or (), response)


Conditions = Annotated[Preconditions, Depends(_preconditions)]
