"""The texts of notifications: events carry ids and kinds, never texts."""

from collections.abc import Mapping
from typing import Any, Final

_TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    "job.completed": ("Job finished", "Your {kind} job has finished."),
    "job.failed": ("Job failed", "Your {kind} job has failed."),
}


def texts(kind: str, data: Mapping[str, Any]) -> tuple[str, str]:
    """Title and body. A kind without a text shows its name."""
    title, body = _TEXTS.get(kind, (kind.replace(".", " ").replace("_", " ").capitalize(), ""))
    return title, body.format(kind=str(data.get("kind", "background")).replace("_", " "))
