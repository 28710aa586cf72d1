"""Every make target, command verb, file and path that the docs name exists; a page that lies fails `make check`."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from shared.dev.fleet import fleet

_PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/**/*.md")
_RECIPES_SERVICE = "orders"  # docs/new-service.md adds it
_TARGET = re.compile(r"(?:^|`)make ([a-z][a-z0-9-]*)", re.MULTILINE)
_URL = re.compile(r"(?:localhost:8000|\b(?:GET|POST|PUT|PATCH|DELETE) )(/(?:api|auth|oauth2)/[\w/{}.-]*[\w}])")
_QUOTE = re.compile(r"```\w*\n# (\S+)\n(.*?)```", re.DOTALL)


def errors(root: Path) -> list[str]:
    """What the docs name and the repository does not have, a line each."""
    known = _Known(root)
    found = []
    for page in sorted({page for pattern in _PAGES for page in root.glob(pattern)}):
        text = page.read_text(encoding="utf-8")
        place = page.relative_to(root)
        found += [f"{place}: make {name}" for name in set(_TARGET.findall(text)) if not known.target(name)]
        found += [
            f"{place}: python -m {module} {verb}"
            for module, verb in set(known.verbs.findall(text))
            if not known.verb(module, verb)
        ]
        found += [
            f"{place}: {path}" for path in set(known.files.findall(text)) if not (root / path.rstrip("/.")).exists()
        ]
        found += [f"{place}: {path} no longer contains: {line}" for path, line in _stale_quotes(root, text)]
        found += [f"{place}: {path}" for path in set(_URL.findall(text)) if not known.url(path)]
    return sorted(found)


def _stale_quotes(root: Path, text: str) -> Iterator[tuple[str, str]]:
    """Lines of code blocks that begin with the comment `# <file>` and are not in that file; `…` stands for a gap."""
    for path, quoted in _QUOTE.findall(text):
        if (root / path).is_file():
            there = {line.strip() for line in (root / path).read_text(encoding="utf-8").splitlines()}
            yield from (
                (path, line) for line in map(str.strip, quoted.splitlines()) if line not in there | {"", "…", "# …"}
            )


class _Known:
    """What there is to name."""

    def __init__(self, root: Path) -> None:
        self._services = fleet(root)
        makefile = (root / "Makefile").read_text(encoding="utf-8")
        self._targets = set(re.findall(r"^([a-z][a-z0-9-]*):", makefile, re.MULTILINE))
        names = [*self._services, "shared", _RECIPES_SERVICE]
        self._targets |= {f"{verb}-{name}" for verb in ("run", "test", "command") for name in names}
        self._paths = [
            re.compile(re.sub(r"\{[^}]*\}", "[^/]+", path).rstrip("/"))
            for service in self._services.values()
            for path in _documented(root / service.folder / "contracts" / "openapi.json")
        ]
        self._helps: dict[str, str] = {}
        packages = "|".join(service.package for service in self._services.values())
        self.verbs = re.compile(rf"python -m ({packages}|shared\.dev) ([a-z]+)")
        folders = "|".join(service.folder for service in self._services.values())
        self.files = re.compile(rf"`((?:{folders}|shared|k8s|docs|tests-e2e)/[\w./-]+)`")

    def target(self, name: str) -> bool:
        return name in self._targets

    def verb(self, module: str, verb: str) -> bool:
        if module not in self._helps:
            command = [sys.executable, "-m", module, "--help"]
            self._helps[module] = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 - our own
        return re.search(rf"\b{verb}\b", self._helps[module]) is not None

    def url(self, path: str) -> bool:
        concrete = re.sub(r"\{[^}]*\}", "x", path).rstrip("/")
        return any(known.fullmatch(concrete) for known in self._paths)


def _documented(document: Path) -> list[str]:
    return list(json.loads(document.read_text(encoding="utf-8"))["paths"]) if document.is_file() else []
