"""Events without a consumer and handlers without a publisher are reported."""

import json
from pathlib import Path
from typing import Any

from shared.dev.checks import event_flow
from shared.dev.fleet import repository


def test_the_fleets_events_have_both_ends() -> None:
    assert event_flow.errors(repository()) == []


def test_an_event_without_an_end_is_reported(tmp_path: Path) -> None:
    pyproject = "[tool.flotilla.services.paint]\nport = 8001\n\n[tool.flotilla.services.wall]\nport = 8002\n"
    (tmp_path / "pyproject.toml").write_text(pyproject)
    _contract(
        tmp_path, "paint", {"send red.mixed.v1": {}, "send dry.v1": {"x-external": True}, "send blue.mixed.v1": {}}
    )
    _contract(tmp_path, "wall", {"receive red.mixed.v1": {}, "receive green.mixed.v1": {}})
    assert event_flow.errors(tmp_path) == [
        "paint publishes blue.mixed.v1, which no service consumes: declare it external or remove it",
        "wall consumes green.mixed.v1, which no service publishes: remove the handler",
    ]


def test_a_field_that_its_publisher_does_not_send_is_reported(tmp_path: Path) -> None:
    pyproject = "[tool.flotilla.services.paint]\nport = 8001\n\n[tool.flotilla.services.wall]\nport = 8002\n"
    (tmp_path / "pyproject.toml").write_text(pyproject)
    sent = {"properties": {"color": {"type": "string"}, "layers": {"type": "integer"}}}
    example = {"payload": {"data": {"color": "red", "layers": 2}}}
    _contract(tmp_path, "paint", {"send red.mixed.v1": {}}, _message(sent, example))
    read = {
        "properties": {"layers": {"type": "string"}, "gloss": {"type": "string"}, "color": {"type": "string"}},
        "required": ["layers", "gloss", "color"],
    }
    _contract(tmp_path, "wall", {"receive red.mixed.v1": {}}, _message(read))
    assert event_flow.errors(tmp_path) == [
        "wall reads gloss of red.mixed.v1, which paint never sends",
        "wall reads layers of red.mixed.v1 in another form than paint sends it",
    ]


def _message(schema: dict[str, Any], *examples: dict[str, Any]) -> dict[str, Any]:
    return {"payload": {"properties": {"data": schema}}, "examples": list(examples)}


def _contract(
    root: Path, service: str, operations: dict[str, dict[str, bool]], message: dict[str, Any] | None = None
) -> None:
    folder = root / f"{service}-service" / "contracts"
    folder.mkdir(parents=True)
    listed = {name: {"action": name.split()[0], **more} for name, more in operations.items()}
    channels = {one.split()[1]: {"messages": {one.split()[1]: message or {}}} for one in operations}
    (folder / "asyncapi.json").write_text(json.dumps({"operations": listed, "channels": channels}))
