"""The recipes of docs/ work as they stand: a new service, event, column and kind of job, one after the other."""

from typing import Final

import pytest

from .recipes import follow
from .repository_copy import RepositoryCopy, copy_repository

pytestmark = pytest.mark.long

CHECK_S: Final = 400
TESTS_S: Final = 300
PAGES: Final = ("new-service.md", "new-event.md", "migrations.md", "new-job-kind.md")
SUITES: Final = (
    "orders-service/tests",
    "chat-service/tests/test_notifications.py",
    "tasks-service/tests/test_word_count.py",
)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> RepositoryCopy:
    """The repository after every page."""
    copied = copy_repository(tmp_path_factory.mktemp("recipes") / "repository")
    for page in PAGES:
        follow(copied, page)
    return copied


def test_make_check_accepts_what_the_recipes_wrote(followed: RepositoryCopy) -> None:
    code, output = followed.make("check", within_s=CHECK_S)
    assert code == 0, output


@pytest.mark.parametrize("suite", SUITES)
def test_the_tests_of_the_recipes_pass(followed: RepositoryCopy, suite: str) -> None:
    code, output = followed.python("-m", "pytest", "-q", suite, within_s=TESTS_S)
    assert code == 0, output
