"""An event between services, as CloudEvents 1.0 in JSON: what its publisher promises and what a consumer reads.

class JobCompleted(Event):                    # the publisher's contract, in <slice>/events.py
    \"""A job ended with a result.\"""
    type: ClassVar[str] = "job.completed.v1"
    example: ClassVar[dict[str, object]] = {"kind": "wait", "user_id": "…"}
    kind: str
    user_id: UUID

class JobCompleted(Consumed):                 # a consumer's view, in <slice>/handlers.py: only what it reads
    type: ClassVar[str] = "job.completed.v1"
    user_id: UUID
"""

import re
from datetime import datetime
from typing import Any, ClassVar, Final, Literal, Self
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.field_errors import broken_rule
from shared.ids import new_id

SPEC_VERSION: Final[Literal["1.0"]] = "1.0"
_ENVELOPE: Final = frozenset({"id", "subject", "tenant_id", "subject_version", "time", "traceparent", "request_id"})
_TYPE: Final = r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\.v[0-9]+$"
_MAX_VERSION: Final = 2**31 - 1  # a CloudEvents Integer has 32 bits


class EventMalformed(ValueError):
    """The bytes are not a CloudEvent that this release reads; the message says where, and repeats none of them."""


class Event(BaseModel):
    """What a service publishes. Fields of a subclass are `data`; those here are the envelope's.

    `subject` is the aggregate's id and `subject_version` its version, counted by the publisher: consumers that keep
    only the latest compare them. `tenant_id` is the session's tenant where it is left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: ClassVar[str]
    example: ClassVar[dict[str, object]]
    external: ClassVar[bool] = False
    """Published for consumers outside of the fleet; `make check` refuses any other event without a consumer."""

    id: UUID = Field(default_factory=new_id)
    subject: UUID
    tenant_id: UUID | None = None
    subject_version: int = Field(default=1, ge=0, le=_MAX_VERSION)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: object) -> None:
        name = cls.__dict__.get("type")
        if name is not None and not re.fullmatch(_TYPE, name):
            raise TypeError(f"{cls.__name__}: {name!r} is not an event type such as job.completed.v1")
        if taken := _ENVELOPE & set(cls.__annotations__):
            raise TypeError(f"{cls.__name__}: {', '.join(sorted(taken))} belongs to the envelope")

    def payload(self) -> dict[str, Any]:
        """The envelope's `data`."""
        return self.model_dump(mode="json", exclude=set(_ENVELOPE))


class Envelope(BaseModel):
    """A CloudEvent on the wire (CloudEvents 1.0, section 3). Unknown attributes are ignored."""

    model_config = ConfigDict(extra="ignore")

    specversion: Literal["1.0"] = SPEC_VERSION
    id: UUID
    source: str
    type: str = Field(pattern=_TYPE, max_length=200)
    subject: UUID
    time: datetime
    datacontenttype: str = "application/json"
    tenantid: UUID | None = None
    traceparent: str | None = None
    requestid: str | None = None
    subjectversion: int = Field(default=1, ge=0, le=_MAX_VERSION)
    data: dict[str, Any]

    def encode(self) -> bytes:
        return orjson.dumps(self.model_dump(mode="json", exclude_none=True))

    @classmethod
    def decode(cls, message: bytes) -> Self:
        """Raises EventMalformed."""
        try:
            return cls.model_validate(orjson.loads(message))
        except (orjson.JSONDecodeError, ValidationError) as error:
            raise EventMalformed(_places(error)) from None


class Consumed(BaseModel):
    """What a consumer reads of an event; a field that the publisher adds later changes nothing here."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: ClassVar[str]

    id: UUID
    subject: UUID
    tenant_id: UUID | None
    subject_version: int
    time: datetime
    traceparent: str | None = None

    @classmethod
    def of(cls, envelope: Envelope) -> Self:
        """Raises EventMalformed where `data` lacks what this consumer reads."""
        frame = {
            "id": envelope.id,
            "subject": envelope.subject,
            "tenant_id": envelope.tenantid,
            "subject_version": envelope.subjectversion,
            "time": envelope.time,
            "traceparent": envelope.traceparent,
        }
        try:
            return cls.model_validate({**envelope.data, **frame})
        except ValidationError as error:
            raise EventMalformed(_places(error)) from None


def _places(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return "not JSON"
    entries = error.errors(include_url=False)
    return "; ".join(f"{'.'.join(map(str, entry['loc']))}: {broken_rule(entry)[1]}" for entry in entries)
