"""The errors that answer a frame; the codes are specific to frames, except `not_found` and `forbidden`."""

from typing import Final

from chat_service.messages.rate import RateLimited
from shared.problems import Forbidden, NotFound, Problem


class InvalidFrame(Problem):
    """The frame is not a JSON object, or a field is missing, unknown or of another type."""

    status, title = 400, "The frame is not valid"
    remedy = "Send one flat JSON object with the fields of the frame's type."


class UnknownType(Problem):
    """The server does not know the frame's `type`."""

    status, title = 400, "The frame's type is unknown"
    remedy = "Send one of subscribe, unsubscribe, send, typing, get_users, read, renew, ping."


class TooLong(Problem):
    """A text is longer than a message may be."""

    status, title = 400, "The text is too long"
    remedy = "Send at most 4,000 characters of text, and 64 of client_id."


class NotAuthenticated(Problem):
    """The connection's token has ended."""

    status, title = 401, "The token has ended"
    remedy = "Refresh the session and reconnect with a new token."


class Unavailable(Problem):
    """A dependency of the frame is unavailable; whether a message was stored is unknown."""

    status, title = 503, "Temporarily unavailable"
    remedy = "Send it again under the same client_id in a moment."


NOT_UNDERSTOOD: Final = (InvalidFrame, UnknownType, TooLong)
"""Ten of these in a minute end a connection: it does not speak the protocol."""

_OWN: Final = (*NOT_UNDERSTOOD, NotAuthenticated, RateLimited, Unavailable)
_BY_STATUS: Final[dict[int, type[Problem]]] = {401: NotAuthenticated, 403: Forbidden, 404: NotFound, 503: Unavailable}


def for_frame(problem: Problem) -> Problem:
    """The problem by the list of frame codes: a slice's refinement becomes the common one."""
    if isinstance(problem, _OWN):
        return problem
    return _BY_STATUS.get(problem.status, InvalidFrame)(_detail(problem))


def _detail(problem: Problem) -> str:
    """The first field error with its place, as frames that break their schema have it; else the problem's detail."""
    if not problem.errors:
        return problem.detail
    error = problem.errors[0]
    place = (error.pointer or "#").removeprefix("#").removeprefix("/").replace("/", ".") or "frame"
    return f"{place}: {error.detail}"
