"""What a router refuses when its module is imported, and what its routes make FastAPI do."""

from typing import Annotated

import pytest
from fastapi import Depends
from fastapi.dependencies.models import Dependant

from shared.identity.access import CurrentUser, require_scopes
from shared.web.conditional import Conditions
from shared.web.router import Router, StrictRoute
from shared.web.session import Db


class Held:
    pass


def in_a_thread() -> Held:
    return Held()


@pytest.mark.parametrize("dependency", [in_a_thread, Held])
def test_a_dependency_that_would_run_in_a_thread_is_refused(dependency: type[Held]) -> None:
    router = Router()
    with pytest.raises(TypeError, match="must be a coroutine function"):

        @router.get("/")
        async def read(held: Annotated[Held, Depends(dependency)]) -> None: ...


def test_a_read_has_as_many_dependencies_as_it_names() -> None:
    """FastAPI solves the whole tree for each request: what several dependencies need is no dependency itself."""
    router = Router()

    @router.get("/", dependencies=[Depends(require_scopes("posts:read"))])
    async def read(user: CurrentUser, db: Db, conditions: Conditions) -> None: ...

    [route] = router.routes
    assert isinstance(route, StrictRoute)
    assert _size(route.dependant) == 6  # the operation, these three, and the scopes with whose they are


def _size(dependant: Dependant) -> int:
    return 1 + sum(_size(needed) for needed in dependant.dependencies)
