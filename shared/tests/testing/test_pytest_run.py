"""pytest as a developer runs it: one service at a time, and a failure that fits on a screen."""

import subprocess
import sys
from pathlib import Path

import pytest

from shared.dev.fleet import repository

_FAILING = """
import logging
import pytest

@pytest.fixture
def noisy():
    print("set up")
    yield
    print("torn down")

def test_the_answer(noisy):
    for number in range(100):
        print(f"line {number}", "x" * 1000)
        logging.getLogger("noise").warning("line %s", number)
    assert 6 * 9 == 42
"""


def run(*arguments: str | Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, arguments)]
    done = subprocess.run(command, cwd=repository(), capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - pytest
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    (tmp_path / "test_failing.py").write_text(_FAILING)
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [("users-service/tests", "chat-service/tests/test_rooms.py"), ("auth-service/tests", "gateway/tests::x"), (".",)],
)
def test_two_services_in_one_run_are_refused_with_a_sentence(arguments: tuple[str, ...]) -> None:
    code, output = run(*arguments)
    assert (code, "One pytest run is one service" in output) == (pytest.ExitCode.USAGE_ERROR, True), output
    assert "Traceback" not in output


def test_one_service_and_parts_of_shared_may_run_together() -> None:
    code, output = run("shared/tests/settings", "shared/tests/testing/test_fakes.py", "--collect-only")
    assert code == 0, output


def test_a_failure_shows_its_assertion_and_the_last_lines_of_its_output(failing: Path) -> None:
    code, output = run("-c", repository() / "pyproject.toml", failing)
    lines = output.splitlines()
    assert code == 1
    assert "E       assert (6 * 9) == 42" in lines
    assert len(lines) < 40, output
    assert "… 88 earlier lines; -v shows every line in full" in lines
    assert any(line.startswith("line 99 xxx") and len(line) < 250 for line in lines)
    assert not any(word in output for word in ("Captured log", "set up", "torn down")), output


def test_verbose_shows_the_whole_output(failing: Path) -> None:
    _, output = run("-c", repository() / "pyproject.toml", failing, "-vv")
    assert "line 0 xxx" in output
    assert all(word in output for word in ("Captured log", "set up", "torn down"))
