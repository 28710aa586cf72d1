"""`make generate` in a copy of the repository: a new entry of the list reaches every file that repeats the list."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from shared.dev.checks.check import CHECKS
from shared.dev.fleet import FleetService, repository
from shared.dev.generate import differences, generate
from shared.dev.generate.blocks import BlockInvalid
from shared.dev.generate.build_files import toml_list

ROOT = repository()
_NEXT = "[tool.flotilla.services.gateway]"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What is generated here, without the sources."""
    for folder in ("k8s", "gateway/src/gateway/portal"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for name in ("pyproject.toml", "compose.yaml", "skaffold.yaml", ".dockerignore"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


def listed(root: Path, entry: str) -> None:
    """Add an entry to the fleet's list."""
    path = root / "pyproject.toml"
    path.write_text(path.read_text().replace(_NEXT, f"{entry}\n\n{_NEXT}"))


def test_the_repository_is_as_its_list_says() -> None:
    assert differences(ROOT) == []


def test_a_new_service_reaches_every_file_and_keeps_what_is_tuned(root: Path) -> None:
    tuned = root / "k8s" / "base" / "chat" / "deployment.yaml"
    tuned.write_text(tuned.read_text().replace("768Mi", "777Mi"))
    assert differences(root) == []
    listed(root, '[tool.flotilla.services.orders]\nport = 8005\nprocesses = { packer = 8015 }\nfollows = ["auth"]')
    assert "compose.yaml" in differences(root)
    generate(root)
    assert differences(root) == []
    assert "777Mi" in tuned.read_text()

    compose = yaml.safe_load((root / "compose.yaml").read_text())
    orders, packer = compose["services"]["orders"], compose["services"]["packer"]
    assert orders["environment"]["SERVICES__ORDERS"] == "http://orders:8005"
    assert orders["environment"]["REVOCATIONS__FEEDS"] == '["auth"]'
    assert (packer["command"], packer["environment"]["PACKER__PORT"]) == (["packer"], "8015")
    assert packer["secrets"] == orders["secrets"]
    assert "orders-setup" in compose["services"]["chat"]["depends_on"]
    assert compose["secrets"]["orders-key"] == {"file": ".secrets/orders.pem"}

    tools = tomllib.loads((root / "pyproject.toml").read_text())["tool"]
    assert "orders_service" in tools["importlinter"]["root_packages"]
    assert "orders-service/src" in tools["mypy"]["mypy_path"]
    assert "!orders-service/src\n" in (root / ".dockerignore").read_text()
    assert "orders-service/Dockerfile" in (root / "skaffold.yaml").read_text()


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="NOT CHECKED: kubectl is not installed")
def test_a_cluster_gets_the_new_service(root: Path) -> None:
    listed(root, "[tool.flotilla.services.orders]\nport = 8005\nprocesses = { packer = 8015 }")
    generate(root)
    done = subprocess.run(  # noqa: S603 - our own overlay
        ["kubectl", "kustomize", str(root / "k8s" / "overlays" / "dev")],  # noqa: S607 - wherever it is installed
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    objects = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(done.stdout)}
    assert objects["Service", "orders"]["spec"]["ports"][0]["port"] == 8005
    assert ("Job", "orders-setup") in objects
    for name in ("orders", "packer"):
        pod = objects["Deployment", name]["spec"]["template"]["spec"]
        assert pod["containers"][0]["image"] == "flotilla/orders-service:dev"
        assert pod["containers"][0]["resources"]["limits"] == {"memory": "512Mi"}


def test_a_removed_service_is_refused_until_its_lines_are_gone(root: Path) -> None:
    listed(root, "[tool.flotilla.services.orders]\nport = 8005")
    generate(root)
    path = root / "pyproject.toml"
    path.write_text(path.read_text().replace("[tool.flotilla.services.orders]\nport = 8005\n", ""))
    with pytest.raises(BlockInvalid, match=r"compose\.yaml: the fleet's list has nothing for the block `orders`"):
        differences(root)


def test_the_folder_of_a_removed_service_is_named(root: Path) -> None:
    shutil.copytree(root / "k8s" / "base" / "chat", root / "k8s" / "base" / "orders")
    with pytest.raises(BlockInvalid, match=r"k8s/base/orders/deployment\.yaml"):
        differences(root)


def test_a_list_is_written_from_its_own_description() -> None:
    services = {name: FleetService(name, folder, 8000) for name, folder in (("a", "a-service"), ("gateway", "gateway"))}
    assert toml_list("containers = [{service}]", services) == 'containers = ["a_service"]'
    assert toml_list("modules = [{application}.app]", services) == 'modules = ["a_service.app", "gateway.app"]'
    assert toml_list("paths = [{folder}/src]", services) == 'paths = ["shared/src", "a-service/src", "gateway/src"]'
    assert toml_list("containers = [{unknown}]", services) is None


async def test_make_check_names_the_file_and_the_remedy(root: Path) -> None:
    listed(root, "[tool.flotilla.services.orders]\nport = 8005")
    report = await CHECKS["generated"](root)
    assert "compose.yaml differs from the fleet's list in pyproject.toml; run: make generate\n" in report
