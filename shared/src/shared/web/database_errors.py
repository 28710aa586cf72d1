"""What a client is sent when the database fails: the problem that the error means (shared/data/errors.py)."""

from fastapi import FastAPI, Request, Response
from sqlalchemy.exc import DBAPIError

from shared.data.errors import problem_of
from shared.web.errors import reply_with


def install(app: FastAPI) -> None:
    """Answer the database errors of `app` with a problem, where one describes them."""
    app.add_exception_handler(DBAPIError, _database_error)


async def _database_error(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if problem is None:
        raise error
    return reply_with(request, problem)
