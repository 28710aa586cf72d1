"""The frames that a client may send: one flat JSON object each, by `type`. Unknown fields are refused."""

from typing import Annotated, Any, ClassVar, Final
from uuid import UUID

import orjson
from pydantic import Field, StrictBool, StrictInt, StringConstraints, ValidationError

from chat_service.messages.schemas import ClientId, Text
from chat_service.socket.problems import InvalidFrame, TooLong, UnknownType
from shared.field_errors import STRING_TOO_LONG, broken_rule
from shared.problems import Problem
from shared.web import json_input
from shared.web.json_input import Input

SUBPROTOCOL: Final = "flotilla.v1"

Ref = str | int | None
_MAX_REF: Final = 128
_SHOWN: Final = 64  # characters of a field's name that an error repeats
_Seq = Annotated[StrictInt, Field(ge=0, le=2**63 - 1)]


class Frame(Input):
    """`ref` comes back with the answer."""

    kind: ClassVar[str]

    ref: Ref = None


class Subscribe(Frame):
    kind: ClassVar[str] = "subscribe"

    room_id: UUID
    after: _Seq | None = None
    epoch: Annotated[str, StringConstraints(max_length=64, strict=True)] | None = None


class Unsubscribe(Frame):
    kind: ClassVar[str] = "unsubscribe"

    room_id: UUID


class Send(Frame):
    kind: ClassVar[str] = "send"

    room_id: UUID
    text: Text
    client_id: ClientId


class Typing(Frame):
    kind: ClassVar[str] = "typing"

    room_id: UUID
    is_typing: StrictBool


class GetUsers(Frame):
    kind: ClassVar[str] = "get_users"

    room_id: UUID


class Read(Frame):
    kind: ClassVar[str] = "read"

    room_id: UUID
    seq: _Seq


class Renew(Frame):
    kind: ClassVar[str] = "renew"

    token: Annotated[str, StringConstraints(min_length=1, max_length=8192, strict=True)]


class Ping(Frame):
    kind: ClassVar[str] = "ping"


_FRAMES: Final[dict[str, type[Frame]]] = {
    frame.kind: frame for frame in (Subscribe, Unsubscribe, Send, Typing, GetUsers, Read, Renew, Ping)
}


class Refused(Exception):
    """A frame that is answered with `problem` and has no other effect."""

    def __init__(self, problem: Problem, ref: Ref) -> None:
        super().__init__(problem.detail)
        self.problem, self.ref = problem, ref


def parse(text: str) -> Frame:
    """The frame that the text is. Raises Refused with InvalidFrame, UnknownType or TooLong."""
    value = _object(text)
    ref = value.get("ref")
    if not _is_ref(ref):
        detail = f"ref: Give a string of at most {_MAX_REF} characters or an integer."
        raise Refused(InvalidFrame(detail), None)
    try:
        return _frame(json_input.checked(value))
    except Problem as problem:
        raise Refused(problem, ref) from None


def _object(text: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Refused(InvalidFrame("The frame is not JSON."), None) from None
    if not isinstance(value, dict):
        raise Refused(InvalidFrame("A frame is one JSON object."), None)
    return value


def _is_ref(ref: Any) -> bool:
    if isinstance(ref, str):
        return len(ref) <= _MAX_REF
    return ref is None or (isinstance(ref, int) and not isinstance(ref, bool))


def _frame(value: dict[str, Any]) -> Frame:
    kind = value.pop("type", None)
    if not isinstance(kind, str):
        raise InvalidFrame("A frame needs a `type`.")
    model = _FRAMES.get(kind)
    if model is None:
        raise UnknownType
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _problem(error) from None


def _problem(error: ValidationError) -> Problem:
    entry = error.errors(include_url=False)[0]
    rule, detail = broken_rule(entry)
    place = ".".join(str(part) for part in entry["loc"])[:_SHOWN] or "frame"
    if rule is STRING_TOO_LONG and place in ("text", "client_id"):
        return TooLong(f"{place}: {detail}")
    return InvalidFrame(f"{place}: {detail}")
