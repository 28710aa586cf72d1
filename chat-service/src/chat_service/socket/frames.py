"""What a client may say: one flat JSON object a frame, by `type`. Strict: nothing is guessed, nothing is ignored."""

from typing import Annotated, Any, ClassVar, Final
from uuid import UUID

from pydantic import Field, StrictBool, StrictInt, StringConstraints, ValidationError

from chat_service.messages.schemas import ClientId, Text
from chat_service.socket.problems import InvalidFrame, TooLong, UnknownType
from shared.problems import Problem
from shared.web import json_input
from shared.web.json_input import Input

SUBPROTOCOL: Final = "flotilla.v1"

_RefText = Annotated[str, StringConstraints(max_length=128, strict=True)]
Ref = _RefText | StrictInt | None
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
    try:
        value = json_input.loads(text)
    except Problem as problem:
        detail = problem.errors[0].detail if problem.errors else "The frame is not JSON."
        raise Refused(InvalidFrame(detail), None) from None
    if not isinstance(value, dict):
        raise Refused(InvalidFrame("A frame is one JSON object."), None)
    ref = _ref(value)
    kind = value.pop("type", None)
    if not isinstance(kind, str):
        raise Refused(InvalidFrame("A frame needs a `type`."), ref)
    model = _FRAMES.get(kind)
    if model is None:
        raise Refused(UnknownType(), ref)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Refused(_problem(error), ref) from None


def _ref(value: dict[str, Any]) -> Ref:
    """The frame's own ref where it is one that may be repeated."""
    ref = value.get("ref")
    if isinstance(ref, str):
        return ref if len(ref) <= 128 else None
    return ref if isinstance(ref, int) and not isinstance(ref, bool) else None


def _problem(error: ValidationError) -> Problem:
    fault = error.errors(include_input=False, include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in fault["loc"]) or "frame"
    if fault["type"] == "string_too_long" and place in ("text", "client_id"):
        return TooLong(f"{place}: {fault['msg']}.")
    return InvalidFrame(f"{place}: {fault['msg']}.")
