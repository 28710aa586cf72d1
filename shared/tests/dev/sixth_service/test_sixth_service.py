"""A sixth service is one folder and one entry in the list: everything else is generated from the list, or reads it.

`orders-service/` beside this file is the folder. The listed services' images are built by `make images`.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx2
import pytest
import yaml

from shared.dev.checks import manifests
from shared.dev.fleet import fleet
from shared.dev.generate import differences
from shared.dev.launcher.ports import chosen_ports, is_free
from shared.testing import eventually

from .repository_copy import RepositoryCopy, copy_repository

pytestmark = pytest.mark.long

CHECK_S: Final = 400
UP_S: Final = 180
END_S: Final = 60
_BROKEN: Final = """
from users_service.settings import UsersSettings

TEXT: int = "a type error, after an import of another service"
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> RepositoryCopy:
    """The repository with the sixth service, after `make generate` and `make contracts`."""
    copied = copy_repository(tmp_path_factory.mktemp("sixth") / "repository")
    copied.add_service()
    assert {"pyproject.toml", "compose.yaml", "k8s/base/orders/deployment.yaml"} <= set(differences(copied.root))
    code, output = copied.make("generate", "contracts")
    assert code == 0, output
    return copied


def test_compose_and_skaffold_have_it(copy: RepositoryCopy) -> None:
    services = yaml.safe_load((copy.root / "compose.yaml").read_text())["services"]
    assert services["orders"]["build"]["dockerfile"] == "orders-service/Dockerfile"
    assert "python -m orders_service migrate" in services["orders-setup"]["command"][0]
    assert services["users"]["environment"]["SERVICES__ORDERS"] == "http://orders:8005"
    assert "flotilla/orders-service" in (copy.root / "skaffold.yaml").read_text()


def test_its_scopes_are_merged_into_the_fleets_list(copy: RepositoryCopy) -> None:
    listed = json.loads((copy.root / "shared/src/shared/identity/scopes.json").read_text())
    roles = {scope["name"]: scope["roles"] for scope in listed}
    assert roles["orders:write"] == roles["files:write"] == ["user", "analyst", "moderator", "admin", "system"]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="NOT CHECKED: kubectl is not installed")
def test_a_cluster_gets_it(copy: RepositoryCopy) -> None:
    command = ["kubectl", "kustomize", "k8s/overlays/dev"]
    rendered = subprocess.run(command, cwd=copy.root, capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own overlay
    objects = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(rendered)}
    assert {kind for kind, name in objects if name in ("orders", "orders-setup")} == {"Deployment", "Service", "Job"}
    assert list(manifests.not_delivered(objects, fleet(copy.root))) == []


def test_make_check_passes_and_finds_what_is_wrong_in_it(copy: RepositoryCopy) -> None:
    code, output = copy.make("check", within_s=CHECK_S)
    assert code == 0, output
    package = copy.root / "orders-service" / "src" / "orders_service"
    settings, models = package / "settings.py", package / "orders" / "models.py"
    with changed(settings, "", _BROKEN), changed(models, "placed_by", "bought_by"):
        code, output = copy.make("check", within_s=CHECK_S)
    assert code != 0
    assert "orders-service/src/orders_service/settings.py" in output  # types and lint
    assert "orders_service.settings -> users_service.settings" in output
    assert "orders_service db check" in output


async def test_make_up_runs_it_and_ends_it(copy: RepositoryCopy, tmp_path: Path) -> None:
    ports = chosen_ports(fleet(copy.root).values(), free=True)
    chosen = f"PORT={' '.join(f'{name}={port}' for name, port in ports.items())}"
    screen = tmp_path / "screen.log"
    with running(copy, screen, "up", chosen) as process:
        await eventually(
            lambda: process.poll() is not None or "Ctrl-C stops everything" in screen.read_text(), within_s=UP_S
        )
        assert process.poll() is None, screen.read_text()
        _, token = copy.make("token", "USER=ann")
        await placed_and_read(f"http://127.0.0.1:{ports['orders']}", token.strip())
        code, output = copy.make("command-orders", "RUN=events list --box outbox")
        assert code == 0, output
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
        await eventually(lambda: process.poll() is not None, within_s=END_S)
    assert "Everything has stopped" in screen.read_text()
    assert [name for name, port in ports.items() if not is_free(port)] == []
    assert copy.make("reset")[0] == 0


async def placed_and_read(url: str, token: str) -> None:
    """The service is ready and does its work, through its own port."""
    async with httpx2.AsyncClient(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False
    ) as client:
        assert (await client.get("/readyz")).status_code == 200
        placed = await client.post("/api/v1/orders", json={"item": "Rope, 20 m", "quantity": 2})
        assert placed.status_code == 201, placed.text
        read = await client.get(f"/api/v1/orders/{placed.json()['id']}")
        assert (read.status_code, read.json()) == (200, placed.json())


@contextmanager
def running(copy: RepositoryCopy, screen: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """`make` in a process group of its own; the launcher's guard ends the rest where the test fails."""
    with screen.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 - our Makefile
            copy.command(*arguments), cwd=copy.root, env=copy.environment,
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def changed(path: Path, old: str, new: str) -> Iterator[None]:
    """The file with `old` replaced, or with `new` appended where nothing is named."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new) if old else text + new)
    yield
    path.write_text(text)
