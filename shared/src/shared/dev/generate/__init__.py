"""`make generate`: write the parts of build and deploy files that repeat the fleet's list.

Each part is a marked block (`blocks`); the rest of such a file is kept by hand. `make check` fails on a difference.
"""

from collections.abc import Iterator
from pathlib import Path

from shared.dev.fleet import fleet
from shared.dev.generate import build_files, compose, kubernetes
from shared.dev.generate.blocks import GeneratedFile


def generated_files(root: Path) -> Iterator[GeneratedFile]:
    """Every file of the repository at `root` that has generated blocks."""
    services = fleet(root)
    yield from build_files.files(services)
    yield compose.file(services)
    yield from kubernetes.files(root, services)


def generate(root: Path) -> list[str]:
    """Write the blocks; return the files that changed. Raises BlockInvalid."""
    changed = []
    for file in generated_files(root):
        current, wanted = _current(root / file.path), file.text(_current(root / file.path))
        if current != wanted:
            (root / file.path).parent.mkdir(parents=True, exist_ok=True)
            (root / file.path).write_text(wanted, encoding="utf-8")
            changed.append(file.path)
    return changed


def differences(root: Path) -> list[str]:
    """The files whose blocks differ from the list. Raises BlockInvalid."""
    found = [(file, _current(root / file.path)) for file in generated_files(root)]
    return [file.path for file, current in found if current != file.text(current)]


def _current(path: Path) -> str:
    """The file as it is; empty when there is none yet."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""
