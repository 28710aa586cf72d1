"""What holds for every pytest run in this repository, by `-p` in pyproject.toml: one service, and short reports."""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from shared.dev.fleet import fleet

SHOWN_LINES: Final = 12
SHOWN_CHARACTERS: Final = 200


def pytest_load_initial_conftests(early_config: Any) -> None:
    """Refuse a run of two services before their conftests are imported: both would define the same tables."""
    where = Path(early_config.invocation_params.dir)
    named = early_config.known_args_namespace.file_or_dir or ["."]
    paths = [(where / str(argument).partition("::")[0]).resolve() for argument in named]
    services = [service.folder for service in fleet(early_config.rootpath).values()]
    chosen = [folder for folder in services if _any_overlap(early_config.rootpath / folder / "tests", paths)]
    if len(chosen) > 1:
        raise pytest.UsageError(
            f"One pytest run is one service, because a process is one service; this one names {', '.join(chosen)}. "
            f"Run them one by one (python -m pytest {chosen[0]}/tests), or all of them with: make test"
        )


def _any_overlap(tests: Path, paths: Sequence[Path]) -> bool:
    return any(path.is_relative_to(tests) or tests.is_relative_to(path) for path in paths)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Shorten the captured output of a failed test, so that its assertion is what a terminal shows; `-v` shows all.

    What setup and teardown printed is shown where they failed. A teardown that passed is reported after a failure too.
    """
    report = yield
    if item.config.get_verbosity() <= 0:
        report.sections = _shortened(report.sections, report.when) if report.failed else []
    return report


def _shortened(sections: Sequence[tuple[str, str]], phase: str) -> list[tuple[str, str]]:
    """The last lines that the phase printed. Its log is left out where stdout has it, as the lines of services are."""
    shown = {title: _last_lines(content) for title, content in sections if title.endswith(f" {phase}")}
    if f"Captured stdout {phase}" in shown:
        shown.pop(f"Captured log {phase}", None)
    return list(shown.items())


def _last_lines(content: str) -> str:
    lines = content.splitlines()
    shown = [line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}…" for line in lines[-SHOWN_LINES:]]
    left_out = len(lines) - len(shown)
    head = [f"… {left_out} earlier lines; -v shows every line in full"] if left_out else []
    return "\n".join([*head, *shown, ""])
