"""Every problem of the fleet by its code: the cause, the remedy, the status.

The services' own problems are known here by a file that `make contracts` generates, because the gateway imports no
service; the gateway's and the shared ones by their classes.
"""

import inspect
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

from pydantic import BaseModel, TypeAdapter

from shared.problems import Problem, every_problem


class Explained(BaseModel):
    """One problem as its page shows it."""

    code: str
    status: int
    title: str
    cause: str
    remedy: str


_FILE: Final = "problems.json"
_List: Final = TypeAdapter(list[Explained])


def explain(kind: type[Problem]) -> Explained:
    """What the class says about itself."""
    cause = inspect.cleandoc(kind.__doc__ or kind.title)
    return Explained(code=kind.code, status=kind.status, title=kind.title, cause=cause, remedy=kind.remedy)


def catalogue() -> Mapping[str, Explained]:
    """All problems by code."""
    source = files("gateway.portal") / _FILE
    listed = _List.validate_json(source.read_bytes()) if source.is_file() else []
    return {one.code: one for one in [*listed, *map(explain, every_problem().values())]}
