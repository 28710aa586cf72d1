"""The list of the kinds."""

from collections.abc import Mapping
from typing import Final

from tasks_service.kinds import data_processing, file_processing, mail, wait
from tasks_service.kinds.kind import Kind
from tasks_service.settings import TasksSettings

_EVERYWHERE: Final = (data_processing.KIND, file_processing.KIND, mail.KIND)
_DEVELOPMENT: Final = (wait.KIND,)


def available(settings: TasksSettings) -> Mapping[str, Kind]:
    """The kinds that this environment offers, by name."""
    offered = (*_EVERYWHERE, *_DEVELOPMENT) if settings.development else _EVERYWHERE
    return {kind.name: kind for kind in offered}
