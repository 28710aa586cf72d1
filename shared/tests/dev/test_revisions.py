"""The newest revision as this release reads it, against Alembic's own answer."""

from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from shared.data.migrations import config
from shared.data.revisions import SeveralHeads, head
from shared.dev.fleet import fleet, repository

SERVICES = [service for service in fleet(repository()).values() if service.database]


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_alembic_finds_the_same_head(service):
    folder = repository() / service.folder / "src" / service.package / "migrations"
    expected = ScriptDirectory.from_config(config(folder)).get_current_head()
    assert expected is not None
    assert head(folder) == expected


def test_a_folder_without_migrations_has_no_head(tmp_path):
    assert head(tmp_path) is None


def test_two_migrations_that_follow_the_same_one_are_refused_until_one_follows_both(tmp_path):
    for revision, before in (("1", None), ("2", "1"), ("3", "1")):
        _write(tmp_path, revision, before)
    with pytest.raises(SeveralHeads, match="2, 3"):
        head(tmp_path)
    _write(tmp_path, "4", ("2", "3"))
    assert head(tmp_path) == "4"


def _write(folder: Path, revision: str, before: str | tuple[str, ...] | None) -> None:
    versions = folder / "versions"
    versions.mkdir(exist_ok=True)
    (versions / f"{revision}.py").write_text(f"revision: str = {revision!r}\ndown_revision = {before!r}\n")
