"""The texts of notifications: events carry ids and kinds, never texts."""

from collections.abc import Mapping
from typing import Any, Final

_TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    "job.completed": ("Job finished", "Your {kind} job has finished."),
    "job.failed": ("Job failed", "Your {kind} job has failed."),
    "post.published": ("New post", "{author} published a post."),
    "post.removed": ("Post removed", "A moderator removed one of your posts."),
}


def texts(kind: str, data: Mapping[str, Any], *, author: str | None = None) -> tuple[str, str]:
    """Title and body; `author` is the username of `data.author_id`. A kind without a text shows its name."""
    title, body = _TEXTS.get(kind, (kind.replace(".", " ").replace("_", " ").capitalize(), ""))
    job = str(data.get("kind", "background")).replace("_", " ")
    return title, body.format(kind=job, author=author or "Someone you follow")
