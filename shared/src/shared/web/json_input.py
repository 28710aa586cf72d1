"""Strict JSON: what a client sends is refused where it could not be stored, compared or answered.

RFC 8259 lets a sender write NaN-like words, lone surrogates, NUL and any depth; each has broken a server somewhere.
"""

import asyncio
import math
from typing import Annotated, Any, Final

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict

from shared.field_errors import FINITE_NUMBER, NUL_CHARACTER, FieldError, FieldRule
from shared.problems import InvalidInput, MalformedRequest

MAX_DEPTH: Final = 64
MAX_INTEGER: Final = 2**63 - 1  # PostgreSQL's bigint; a larger one could be neither stored nor compared
_THREAD_ABOVE_BYTES: Final = 64 * 1024

TOO_DEEP: Final = FieldRule("too_deep", "Must be nested at most {max_depth} levels deep.")
LONE_SURROGATE: Final = FieldRule("lone_surrogate", "Must not contain a lone surrogate.")
INTEGER_OUT_OF_RANGE: Final = FieldRule("integer_out_of_range", "Must fit in 64 bits.")


class Input(BaseModel):
    """What a client may send: unknown fields are refused, and so are NaN and infinity."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, str_strip_whitespace=False)


async def parse(body: bytes) -> Any:
    """`loads` without holding the event loop for long bodies."""
    if len(body) > _THREAD_ABOVE_BYTES:
        return await asyncio.to_thread(loads, body)
    return loads(body)


def loads(body: bytes | str) -> Any:
    """Parse JSON and check every value. Raises MalformedRequest (no JSON) or InvalidInput (with a pointer)."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"The body is not JSON: {error.msg} at character {error.pos}.") from None
    return checked(value)


def checked(value: Any) -> Any:
    """The value itself, once every string, number and level of it is acceptable. Raises InvalidInput."""
    if (error := _error(value, "#", 0)) is not None:
        raise InvalidInput(errors=[error])
    return value


def _error(value: Any, pointer: str, depth: int) -> FieldError | None:
    if depth > MAX_DEPTH:
        return TOO_DEEP.at("#", max_depth=MAX_DEPTH)
    if isinstance(value, str):
        return _string_error(value, pointer)
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return _number_fault(value, pointer)
    return _container_fault(value, pointer, depth)


def _container_fault(value: Any, pointer: str, depth: int) -> FieldError | None:
    if isinstance(value, dict):
        for key, item in value.items():
            place = f"{pointer}/{escape(key)}"
            if (error := _string_error(key, pointer) or _error(item, place, depth + 1)) is not None:
                return error
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if (error := _error(item, f"{pointer}/{index}", depth + 1)) is not None:
                return error
    return None


def _string_error(value: str, pointer: str) -> FieldError | None:
    if "\0" in value:
        return NUL_CHARACTER.at(pointer)
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        return LONE_SURROGATE.at(pointer)
    return None


def _number_fault(value: float, pointer: str) -> FieldError | None:
    if isinstance(value, float) and not math.isfinite(value):
        return FINITE_NUMBER.at(pointer)
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return INTEGER_OUT_OF_RANGE.at(pointer)
    return None


def escape(key: str) -> str:
    """One reference token of a JSON Pointer (RFC 6901, section 3)."""
    return key.encode(errors="replace").decode().replace("~", "~0").replace("/", "~1")


Json = Annotated[Any, AfterValidator(checked)]
"""Any JSON value, checked as above: for the few fields whose shape the caller decides."""
