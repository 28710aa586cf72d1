"""A page of docs/ as a reader follows it: its commands are run, its new files written, its differences applied."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from .repository_copy import ROOT, RepositoryCopy

_BLOCK: Final = re.compile(r"^```(sh|python|diff)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NEW_FILE: Final = re.compile(r"# (\S+)\n(.*)", re.DOTALL)


def follow(copy: RepositoryCopy, page: str) -> None:
    """Take each step of `docs/<page>` in the copy. Raises AssertionError where one of them is not possible."""
    for kind, text in _BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8")):
        if kind == "sh":
            _run(copy, text)
        elif kind == "diff":
            _apply(copy.root, text)
        elif found := _NEW_FILE.match(text):
            path = copy.root / found[1]
            assert not path.exists(), f"{page} calls {found[1]} a new file"
            path.write_text(found[2], encoding="utf-8")


def _run(copy: RepositoryCopy, commands: str) -> None:
    """Run them in a shell whose `make` uses this virtualenv."""
    if not (copy.root / ".venv").exists():
        (copy.root / ".venv").symlink_to(Path(sys.prefix))
    make = " ".join(copy.command())
    script = f'set -e\nmake() {{ command {make} "$@"; }}\n{commands}'
    done = subprocess.run(  # noqa: S603 - the commands of our own page
        ["bash", "-c", script], cwd=copy.root, env=copy.environment, check=False, timeout=120,  # noqa: S607 - bash
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"{commands}\n{done.stdout}"


def _apply(root: Path, difference: str) -> None:
    """Replace the lines that each hunk has before by those that it has after; its lines occur once in the file."""
    for file in re.split(r"^--- .*\n", difference, flags=re.MULTILINE)[1:]:
        name, *hunks = re.split(r"^@@\n", file, flags=re.MULTILINE)
        path = root / name.removeprefix("+++ b/").strip()
        for hunk in hunks:
            before, after = _side(hunk, "-"), _side(hunk, "+")
            text = path.read_text(encoding="utf-8")
            assert text.count(before) == 1, f"{path.relative_to(root)} has not once:\n{before}"
            path.write_text(text.replace(before, after), encoding="utf-8")


def _side(hunk: str, sign: str) -> str:
    lines = [line for line in hunk.splitlines(keepends=True) if line[0] in (" ", "\n", sign)]
    return "".join(line if line == "\n" else line[1:] for line in lines)
