"""A test that docs/conformance.md names and that does not exist is reported by its name."""

from pathlib import Path

from shared.dev.checks import conformance
from shared.dev.fleet import repository

PAGE = """
| short | folder |
|---|---|
| `AS` | `auth-service/tests` |

| section | requirement | test |
|---|---|---|
| 2.1 | exact matching | AS test_codes: `test_exact_matching` (26 variants), `test_loopback` |
| 2.3 | least privilege | AS test_codes: `test_scopes`; AS test_tokens: `test_audience` |
| 4.1 | a module without its suite | GW test_codes |
| 4.2 | a function without its module | `test_exact_matching` |
| 4.3 | a path | auth-service/tests/test_codes.py, auth-service/tests/test_other.py |
"""


def test_the_page_names_tests_that_exist() -> None:
    assert conformance.errors(repository()) == []


def test_a_test_that_is_gone_is_reported(tmp_path: Path) -> None:
    for path, content in (
        ("docs/conformance.md", PAGE),
        (
            "auth-service/tests/test_codes.py",
            "async def test_exact_matching() -> None: ...\ndef test_loopback(): ...\n",
        ),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    assert conformance.errors(tmp_path) == [
        "docs/conformance.md: test_scopes, in auth-service/tests/test_codes.py",
        "docs/conformance.md: AS test_tokens",
        "docs/conformance.md: test_audience, in no module",
        "docs/conformance.md: GW test_codes",
        "docs/conformance.md: test_exact_matching, in no module",
        "docs/conformance.md: auth-service/tests/test_other.py",
    ]
