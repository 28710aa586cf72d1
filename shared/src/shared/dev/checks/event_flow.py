"""Every event has a publisher and a consumer, by the services' asyncapi.json."""

import json
from pathlib import Path

from shared.dev.fleet import fleet


def errors(root: Path) -> list[str]:
    """A line per event without a consumer, unless it is declared external, and per handler without a publisher."""
    sent: dict[str, str] = {}
    external: set[str] = set()
    received: dict[str, str] = {}
    for service in fleet(root).values():
        contract = root / service.folder / "contracts" / "asyncapi.json"
        if not contract.is_file():
            continue
        for name, operation in json.loads(contract.read_text(encoding="utf-8"))["operations"].items():
            event_type = name.partition(" ")[2]
            (sent if operation["action"] == "send" else received)[event_type] = service.name
            if operation.get("x-external"):
                external.add(event_type)
    return [
        *(
            f"{sent[name]} publishes {name}, which no service consumes: declare it external or remove it"
            for name in sorted(sent.keys() - received.keys() - external)
        ),
        *(
            f"{received[name]} consumes {name}, which no service publishes: remove the handler"
            for name in sorted(received.keys() - sent.keys())
        ),
    ]
