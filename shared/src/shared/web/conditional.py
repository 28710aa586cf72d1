"""Conditional requests (RFC 9110, section 13): strong ETags from a row's version, 304 and 412."""

from typing import Annotated

from fastapi import Depends, Request, Response

from shared.problems import PreconditionFailed
from shared.web.answers import NotModified


class Preconditions:
    """The request's If-Match and If-None-Match, and the answer's ETag."""

    def __init__(self, request: Request, response: Response) -> None:
        self._if_match = _tags(request.headers.getlist("if-match"))
        self._if_none_match = frozenset(
            tag.removeprefix("W/") for tag in _tags(request.headers.getlist("if-none-match"))
        )
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


def _tags(headers: list[str]) -> frozenset[str]:
    return frozenset(tag.strip() for header in headers for tag in header.split(",") if tag.strip())


async def _preconditions(request: Request, response: Response) -> Preconditions:
    return Preconditions(request, response)  # a class as a dependency would be called in a thread


Conditions = Annotated[Preconditions, Depends(_preconditions)]
