"""What delivers the fleet: the files are checked against its list, secrets are kept, an engine's failure is told."""

import json
import os
import shutil
import stat
import sys

import asyncpg
import psutil
import pytest
import yaml
from sqlalchemy.engine import make_url

from shared.data.roles import create_database, database_name
from shared.dev import manifests
from shared.dev.base_image import base_of
from shared.dev.binaries import postgres_binaries
from shared.dev.engine import Engine, EngineFailed, EngineMissing, find_engine
from shared.dev.fleet import fleet, repository
from shared.dev.postgres import Postgres
from shared.dev.secret_files import FleetSecrets
from shared.dev.server import HOST

ROOT = repository()
SERVICES = fleet(ROOT)


@pytest.fixture
def copied(tmp_path):
    """The delivered files, to be changed."""
    for name in ("compose.yaml", "skaffold.yaml", *(f"{service.folder}/Dockerfile" for service in SERVICES.values())):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


def change(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_the_files_as_they_are_deliver_the_fleet(copied):
    for check in (manifests.dockerfiles, manifests.compose, manifests.skaffold):
        assert list(check(copied, SERVICES)) == []


def test_a_dockerfile_that_goes_its_own_way_is_found(copied):
    change(copied / "chat-service" / "Dockerfile", "USER 10001:10001", "USER 10002:10001")
    assert list(manifests.dockerfiles(copied, SERVICES)) == [
        "chat-service/Dockerfile differs from auth-service/Dockerfile in more than names and port"
    ]


def test_a_process_that_compose_leaves_out_is_found(copied):
    change(copied / "compose.yaml", "\n  worker:\n", "\n  walker:\n")
    assert list(manifests.compose(copied, SERVICES)) == ["compose.yaml: worker does not run flotilla/tasks-service:dev"]


def test_a_compose_file_outside_the_schema_is_found(copied):
    change(copied / "compose.yaml", "read_only: true", "reed_only: true")
    assert any("'reed_only' was unexpected" in fault for fault in manifests.compose(copied, SERVICES))


def test_an_image_that_skaffold_does_not_build_is_found(copied):
    change(copied / "skaffold.yaml", "- image: flotilla/gateway", "- image: flotilla/gate")
    assert len(list(manifests.skaffold(copied, SERVICES))) == 1


def test_a_deployment_that_a_cluster_lacks_is_found():
    faults = list(manifests.not_delivered({}, SERVICES))
    assert "no Deployment worker runs flotilla/tasks-service" in faults
    assert "no Service gateway on port 8000" in faults
    assert "no Job makes and migrates the database of users" in faults


def test_secrets_are_made_once_and_entered_by_their_owner_alone(tmp_path):
    folder = tmp_path / "secrets"
    FleetSecrets(folder, SERVICES.values()).write_for_compose()
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    FleetSecrets(folder, SERVICES.values()).write_for_compose()
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_every_secret_file_of_compose_is_made_and_readable_in_a_container(tmp_path):
    FleetSecrets(tmp_path / ".secrets", SERVICES.values()).write_for_compose()
    document = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    for secret in document["secrets"].values():
        assert stat.S_IMODE((tmp_path / secret["file"]).stat().st_mode) == 0o444
    for service in document["services"].values():
        assert all((tmp_path / file).is_file() for file in service.get("env_file", ()))


def test_a_cluster_gets_each_service_its_own_key_and_no_other(tmp_path):
    secrets = FleetSecrets(tmp_path / "secrets", SERVICES.values())
    found = {one["metadata"]["name"]: one["stringData"] for one in yaml.safe_load_all(secrets.manifests())}
    keys = [found[f"{name}-files"]["key.pem"] for name in SERVICES]
    assert len(set(keys)) == len(SERVICES)
    assert set(found["chat-files"]) == {"key.pem", "trust.json"}
    assert "development_issuer" not in json.loads(found["chat-files"]["trust.json"])
    assert set(found["chat-environment"]) == {"DATABASE_URL", "BUS_URL"}


async def test_each_service_has_a_login_that_enters_its_own_database_and_no_other(tmp_path, guard):
    told = FleetSecrets(tmp_path / "secrets", SERVICES.values()).environments()
    password = told["postgres"]["POSTGRES_PASSWORD"]
    server = Postgres(tmp_path / "pg", guard, postgres_binaries(), password=password, durable=False)
    await server.start()
    names = [name for name, service in SERVICES.items() if service.database]
    urls = {name: make_url(told[name]["DATABASE_URL"]).set(host=HOST, port=server.port) for name in names}
    for name, url in urls.items():
        await create_database(server.url, name, database_name(name), url.username, url.password)
    entered = {name: [other for other in names if await enters(urls[name], database_name(other))] for name in names}
    await server.stop()
    assert entered == {name: [name] for name in names}
    assert len({url.password for url in urls.values()}) == len(names)


async def enters(url, database):
    """Whether the login may connect to that database."""
    try:
        connection = await asyncpg.connect(url.set(database=database).render_as_string(hide_password=False))
    except asyncpg.InsufficientPrivilegeError:
        return False
    await connection.close()
    return True


def test_a_process_with_the_secrets_of_another_service_is_found(copied):
    change(copied / "compose.yaml", "env_file: [.secrets/chat.env]", "env_file: [.secrets/users.env]")
    assert list(manifests.compose(copied, SERVICES)) == [
        "compose.yaml: chat has not the secrets of chat, or others too"
    ]


def test_the_base_is_read_from_the_dockerfile():
    assert base_of(ROOT / "auth-service" / "Dockerfile") == "python:3.11-slim-bookworm"


def test_a_dockerfile_without_its_base_is_refused(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    with pytest.raises(EngineFailed, match="does not say its base"):
        base_of(tmp_path / "Dockerfile")


async def test_without_an_engine_the_command_that_brings_one_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineMissing, match="apt-get install"):
        await find_engine(tmp_path)


async def test_what_a_failing_command_said_is_told():
    engine = Engine(sys.executable, dict(os.environ))
    with pytest.raises(EngineFailed, match="no such image"):
        await engine.do("-c", "import sys; sys.exit('no such image')")


async def test_a_command_that_takes_too_long_is_ended(tmp_path):
    file = tmp_path / "pid"
    with pytest.raises(EngineFailed, match="more than 3 s"):
        await Engine("sh", dict(os.environ)).do("-c", f"echo $$ > '{file}'; exec sleep 60", timeout_s=3)
    assert not psutil.pid_exists(int(file.read_text(encoding="utf-8")))
