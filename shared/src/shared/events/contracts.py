"""A service's event contracts as files: asyncapi.json, and one example of each event that it publishes."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from shared.events.event import Consumed, Envelope, Event
from shared.events.handlers import EventHandlers

_EXAMPLE_ID = UUID("01980000-0000-7000-8000-000000000001")
_EXAMPLE_SUBJECT = UUID("01980000-0000-7000-8000-000000000002")
_EXAMPLE_TENANT = UUID("01980000-0000-7000-8000-000000000003")


def example(event: type[Event], service: str) -> dict[str, Any]:
    """The event as it stands on the wire; consumers' tests parse it.

    Raises ValidationError where the example breaks its class.
    """
    made = event.model_validate({"id": _EXAMPLE_ID, "subject": _EXAMPLE_SUBJECT, **event.example})
    envelope = Envelope(
        id=made.id,
        source=f"/flotilla/{service}",
        type=event.type,
        subject=made.subject,
        time=datetime(2026, 1, 1, 12, tzinfo=UTC),
        tenantid=_EXAMPLE_TENANT,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        subjectversion=made.subject_version,
        data=made.payload(),
    )
    document: dict[str, Any] = json.loads(envelope.encode())
    return document


def asyncapi(service: str, publishes: Sequence[type[Event]], handlers: EventHandlers) -> dict[str, Any]:
    """What the service sends and receives, as AsyncAPI 3.0."""
    sent = {event.type: event for event in publishes}
    channels = {
        event.type: {"address": event.type, "messages": {event.type: _read(event)}} for event in handlers.events
    }
    # Of an event that the service itself consumes, the contract is what it sends.
    channels |= {name: {"address": name, "messages": {name: _message(event, service)}} for name, event in sent.items()}
    operations = {f"send {name}": _operation("send", name, external=event.external) for name, event in sent.items()}
    operations |= {f"receive {name}": _operation("receive", name) for name in handlers.types}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": f"Flotilla {service}", "version": "1"},
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": operations,
    }


def write(folder: Path, service: str, publishes: Sequence[type[Event]], handlers: EventHandlers) -> None:
    """Write asyncapi.json and events/<type>.json into `folder`."""
    _write(folder / "asyncapi.json", asyncapi(service, publishes, handlers))
    for event in publishes:
        _write(folder / "events" / f"{event.type}.json", example(event, service))


def _message(event: type[Event], service: str) -> dict[str, Any]:
    summary = (event.__doc__ or event.type).partition("\n")[0]
    return {
        "name": event.type,
        "summary": summary,
        "payload": _payload(event, set(Event.model_fields)),
        "examples": [{"payload": example(event, service)}],
    }


def _read(event: type[Consumed]) -> dict[str, Any]:
    """What a consumer reads of the event: `make check` compares it with the publisher's contract."""
    return {"name": event.type, "payload": _payload(event, set(Consumed.model_fields))}


def _payload(event: type[BaseModel], envelope: set[str]) -> dict[str, Any]:
    schema = event.model_json_schema()
    schema["properties"] = {name: value for name, value in schema["properties"].items() if name not in envelope}
    schema["required"] = [name for name in schema.get("required", []) if name not in envelope]
    return {"type": "object", "properties": {"data": schema}}


def _operation(action: str, name: str, *, external: bool = False) -> dict[str, Any]:
    operation: dict[str, Any] = {"action": action, "channel": {"$ref": f"#/channels/{name}"}}
    return {**operation, "x-external": True} if external else operation


def _write(file: Path, document: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
