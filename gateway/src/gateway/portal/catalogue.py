"""Every problem of the fleet by its code: status, title, cause and remedy.

The gateway imports no service, so it reads the services' problems from a file that `make contracts` generates; its own
and the shared ones come from their classes.
"""

import inspect
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

from pydantic import BaseModel, Field, TypeAdapter

from shared.problems import Problem, every_problem


class Explained(BaseModel):
    """The description of one problem."""

    code: str = Field(examples=["room_full"])
    status: int = Field(examples=[409])
    title: str = Field(examples=["The room is full"])
    cause: str = Field(examples=["The room has as many members as the plan allows."])
    remedy: str = Field(examples=["Remove a member."])


_FILE: Final = "problems.json"
_List: Final = TypeAdapter(list[Explained])


def explain(kind: type[Problem]) -> Explained:
    """Describe a problem class."""
    cause = inspect.cleandoc(kind.__doc__ or kind.title)
    return Explained(code=kind.code, status=kind.status, title=kind.title, cause=cause, remedy=kind.remedy)


def catalogue() -> Mapping[str, Explained]:
    """All problems by code."""
    source = files("gateway.portal") / _FILE
    listed = _List.validate_json(source.read_bytes()) if source.is_file() else []
    return {one.code: one for one in [*listed, *map(explain, every_problem().values())]}
