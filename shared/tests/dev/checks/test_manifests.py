"""The files that deliver the fleet are compared with its list."""

import shutil

import pytest

from shared.dev.checks import manifests
from shared.dev.fleet import fleet, repository

ROOT = repository()
SERVICES = fleet(ROOT)


@pytest.fixture
def copied(tmp_path):
    """The delivered files, to be changed."""
    for name in ("compose.yaml", *(f"{service.folder}/Dockerfile" for service in SERVICES.values())):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


def change(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_the_files_as_they_are_deliver_the_fleet(copied):
    for check in (manifests.dockerfiles, manifests.compose):
        assert list(check(copied, SERVICES)) == []


def test_a_dockerfile_that_goes_its_own_way_is_found(copied):
    change(copied / "chat-service" / "Dockerfile", "USER 10001:10001", "USER 10002:10001")
    assert list(manifests.dockerfiles(copied, SERVICES)) == [
        "chat-service/Dockerfile differs from auth-service/Dockerfile in more than names and port"
    ]


def test_a_compose_file_outside_the_schema_is_found(copied):
    change(copied / "compose.yaml", "read_only: true", "reed_only: true")
    assert any("'reed_only' was unexpected" in fault for fault in manifests.compose(copied, SERVICES))


def test_a_deployment_that_a_cluster_lacks_is_found():
    faults = list(manifests.not_delivered({}, SERVICES))
    assert "no Deployment worker runs flotilla/tasks-service" in faults
    assert "no Service gateway on port 8000" in faults
    assert "no Job makes and migrates the database of users" in faults
