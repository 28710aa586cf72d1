"""Every event has a publisher and a consumer, and its consumer reads what is sent, by the services' asyncapi.json."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft202012Validator

from shared.dev.fleet import fleet


def errors(root: Path) -> list[str]:
    """A line per event without a consumer, unless it is declared external, per handler without a publisher, and per
    field that a consumer reads and the publisher does not send, or sends in another form.
    """
    sent: dict[str, str] = {}
    messages: dict[str, dict[str, Any]] = {}
    external: set[str] = set()
    received: dict[str, dict[str, dict[str, Any]]] = {}
    for service in fleet(root).values():
        contract = root / service.folder / "contracts" / "asyncapi.json"
        if not contract.is_file():
            continue
        document = json.loads(contract.read_text(encoding="utf-8"))
        for name, operation in document["operations"].items():
            event_type = name.partition(" ")[2]
            message = document["channels"][event_type]["messages"][event_type]
            if operation["action"] == "send":
                sent[event_type], messages[event_type] = service.name, message
            else:
                received.setdefault(event_type, {})[service.name] = message
            if operation.get("x-external"):
                external.add(event_type)
    return [
        *(
            f"{sent[name]} publishes {name}, which no service consumes: declare it external or remove it"
            for name in sorted(sent.keys() - received.keys() - external)
        ),
        *(
            f"{', '.join(received[name])} consumes {name}, which no service publishes: remove the handler"
            for name in sorted(received.keys() - sent.keys())
        ),
        *(
            f"{consumer} {difference}"
            for name in sorted(received.keys() & sent.keys())
            for consumer, read in received[name].items()
            for difference in _differences(name, sent[name], messages[name], read)
        ),
    ]


def _differences(name: str, publisher: str, message: dict[str, Any], read: dict[str, Any]) -> Iterator[str]:
    sent, wanted = _data(message), _data(read)
    for field in sorted(wanted.get("properties", {}).keys() - sent.get("properties", {}).keys()):
        yield f"reads {field} of {name}, which {publisher} never sends"
    for example in message.get("examples", []):
        for error in Draft202012Validator(wanted).iter_errors(example["payload"]["data"]):
            if path := ".".join(str(part) for part in error.instance_path):  # a missing field is reported above
                yield f"reads {path} of {name} in another form than {publisher} sends it"


def _data(message: dict[str, Any]) -> dict[str, Any]:
    """The schema of the event's data; empty where the contract has none."""
    schema: dict[str, Any] = message.get("payload", {}).get("properties", {}).get("data", {})
    return schema
