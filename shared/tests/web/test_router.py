"""What a router refuses when its module is imported."""

from typing import Annotated

import pytest
from fastapi import Depends

from shared.web.router import Router


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
