"""The fleet's lists are merged from what each service's contracts declare."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from shared.dev.checks.contracts import GRANTS_FILE, SCOPES_FILE, generate


def contract(into: Path, service: str, name: str, document: Any) -> None:
    """Put a contract where the service itself would write it; the tiny services write none."""
    folder = into / f"tiny_{service}" / "contracts"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(document))


def scope(name: str, *roles: str) -> dict[str, Any]:
    return {"name": name, "roles": [*roles, "system"]}


def test_scopes_and_grants_are_merged(tiny_root: Path, tmp_path: Path) -> None:
    contract(tmp_path, "users", "scopes", [scope("user:read", "user"), scope("admin:read", "admin")])
    contract(tmp_path, "chat", "scopes", [scope("chat:read", "user")])
    contract(tmp_path, "users", "grants", {"revocations:read": ["GET /internal/revocations"]})
    contract(
        tmp_path, "auth", "grants", {"revocations:read": ["GET /internal/revocations"], "a:b": ["PUT /internal/a"]}
    )
    generate(tiny_root, tmp_path)
    merged = json.loads((tmp_path / SCOPES_FILE).read_text())
    assert merged == [scope("admin:read", "admin"), scope("chat:read", "user"), scope("user:read", "user")]
    assert json.loads((tmp_path / GRANTS_FILE).read_text()) == {
        "a:b": ["auth: PUT /internal/a"],
        "revocations:read": ["auth: GET /internal/revocations", "users: GET /internal/revocations"],
    }


def test_a_scope_has_one_owner(tiny_root: Path, tmp_path: Path) -> None:
    for service in ("chat", "users"):
        contract(tmp_path, service, "scopes", [scope("chat:read", "user")])
    with pytest.raises(typer.BadParameter, match="chat and users both declare the scope chat:read"):
        generate(tiny_root, tmp_path)


def test_the_page_of_problems_lists_the_rules_of_every_service(tiny_root: Path, tmp_path: Path) -> None:
    contract(tmp_path, "users", "field_errors", {"own_id": "Must be another person's id.", "missing": "Is required."})
    contract(tmp_path, "chat", "field_errors", {"missing": "Is required.", "repeated": "Must not be sent twice."})
    generate(tiny_root, tmp_path)
    rows = [line for line in (tmp_path / "docs/problems.md").read_text().splitlines() if line.startswith("| `")]
    assert rows == [
        "| `missing` | Is required. |",
        "| `own_id` | Must be another person's id. |",
        "| `repeated` | Must not be sent twice. |",
    ]


def test_a_code_of_a_field_error_has_one_sentence(tiny_root: Path, tmp_path: Path) -> None:
    contract(tmp_path, "users", "field_errors", {"missing": "Is required."})
    contract(tmp_path, "chat", "field_errors", {"missing": "Where is it?"})
    with pytest.raises(typer.BadParameter, match="missing"):
        generate(tiny_root, tmp_path)
