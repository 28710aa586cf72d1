"""Answers that leave a dependency early: the operation does not run, and this goes out instead."""

from collections.abc import Mapping

from fastapi import Response
from starlette.exceptions import HTTPException

from shared.problems import Problem


class AnswerInstead(Exception):
    """A ready response."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


class NotModified(AnswerInstead):
    """The client has this version already (RFC 9110, 15.4.5)."""

    def __init__(self, etag: str, headers: Mapping[str, str]) -> None:
        super().__init__(Response(status_code=304, headers={"ETag": etag, **headers}))


class Replayed(AnswerInstead):
    """The request came before under the same Idempotency-Key: the stored answer goes out again."""

    def __init__(self, body: bytes, status: int, headers: Mapping[str, str]) -> None:
        sent = {"Content-Type": "application/json", **headers, "Idempotency-Replayed": "true"}
        super().__init__(Response(body, status, headers=sent))


class Refused(HTTPException):
    """A problem found while FastAPI reads a body: it lets only an HTTPException through from there."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.status)
        self.problem = problem
