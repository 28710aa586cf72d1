"""Conditional requests (RFC 9110, section 13): strong ETags from a row's version, 304 and 412."""

from typing import Annotated

from fastapi import Depends, Request, Response

from shared.problems import PreconditionFailed
from shared.web.answers import NotModified


class Preconditions:
    """The request's If-None-Match and If-Match, and the answer's ETag."""

    def __init__(self, request: Request, response: Response) -> None:
        self._if_none_match = _tags(request.headers.getlist("if-none-match"))
        self._if_match = _tags(request.headers.getlist("if-match"))
        self._response = response

    def shows(self, version: int | str) -> None:
        """Name the version that the answer shows. Raises NotModified where the client has it."""
        etag = f'"{version}"'
        if "*" in self._if_none_match or etag in {tag.removeprefix("W/") for tag in self._if_none_match}:
            raise NotModified(etag)
        self.wrote(version)

    def wrote(self, version: int | str) -> None:
        """Name the version that a write made."""
        self._response.headers["ETag"] = f'"{version}"'

    def allow_write(self, version: int | str) -> None:
        """Raises PreconditionFailed where If-Match names another version; hold the row's lock when asking."""
        if self._if_match and "*" not in self._if_match and f'"{version}"' not in self._if_match:
            raise PreconditionFailed


def _tags(headers: list[str]) -> frozenset[str]:
    return frozenset(tag.strip() for header in headers for tag in header.split(",") if tag.strip())


async def _preconditions(request: Request, response: Response) -> Preconditions:
    return Preconditions(request, response)  # a class as a dependency would be called in a thread


Conditions = Annotated[Preconditions, Depends(_preconditions)]
