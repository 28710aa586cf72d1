"""Every test that docs/conformance.md names exists, so that no requirement rests on a test that is gone.

The page writes a test as `AS test_module: `test_function`, `test_function``. A table of the page names the folder of
each abbreviation.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PAGE: Final = Path("docs/conformance.md")
_FOLDER: Final = re.compile(r"^\| `([A-Z0-9]+)` \| `([\w/-]+)` \|$", re.MULTILINE)
_NAMED: Final = re.compile(
    r"\b(?P<suite>[A-Z0-9]+) (?P<module>test_\w+)|`(?P<function>test_\w+)`|(?P<path>[\w/-]+/test_\w+\.py)"
)


def errors(root: Path) -> list[str]:
    """The tests that the page names and the repository does not have, a line each."""
    text = (root / PAGE).read_text(encoding="utf-8")
    folders = {name: root / folder for name, folder in _FOLDER.findall(text)}
    return [f"{PAGE}: {missing}" for line in text.splitlines() for missing in _missing(root, line, folders)]


def _missing(root: Path, line: str, folders: dict[str, Path]) -> Iterator[str]:
    module: Path | None = None
    for named in _NAMED.finditer(line):
        if named["path"]:
            if not (root / named["path"]).is_file():
                yield named["path"]
        elif named["suite"]:
            module = folders.get(named["suite"], root) / f"{named['module']}.py"
            if not module.is_file():
                yield named[0]
                module = None
        elif module is None or not _has(module, named["function"]):
            yield f"{named['function']}, in {module.relative_to(root) if module else 'no module'}"


def _has(module: Path, function: str) -> bool:
    return re.search(rf"^\s*(?:async )?def {function}\(", module.read_text(encoding="utf-8"), re.MULTILINE) is not None
