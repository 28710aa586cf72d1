"""Secrets for containers: made once, readable by their service alone, one database login each."""

import json
import stat

import asyncpg
import yaml
from sqlalchemy.engine import make_url

from shared.data.roles import create_database, database_name
from shared.dev.fleet import fleet, repository
from shared.dev.images.secret_files import FleetSecrets
from shared.dev.servers.binaries import postgres_binaries
from shared.dev.servers.postgres import Postgres
from shared.dev.servers.server import HOST

ROOT = repository()
SERVICES = fleet(ROOT)


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
