"""`make manifests`: the files that deliver the fleet are valid, and what a cluster gets is the whole fleet.

Each file is validated by the tool that has its schema; rendered overlays are compared with the fleet's list.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import typer
import yaml

from shared.dev.checks.env_example import FILE, env_example, undescribed
from shared.dev.fleet import FleetService, fleet, processes, repository

KUBERNETES: Final = "1.34"
"""The oldest release that the manifests are written for."""

Fleet = Mapping[str, FleetService]


class ToolMissing(Exception):
    """A check cannot be made on this machine; the message names what is missing."""


def dockerfiles(root: Path, services: Fleet) -> Iterator[str]:
    """Each is good by hadolint's rules, and says what the first one says."""
    first = next(iter(services.values()))
    text = (root / first.folder / "Dockerfile").read_text(encoding="utf-8")
    for service in services.values():
        path = root / service.folder / "Dockerfile"
        yield from _run("hadolint", str(path))
        names = {first.folder: service.folder, first.package: service.package, str(first.port): str(service.port)}
        if path.read_text(encoding="utf-8") != _renamed(text, names):
            yield f"{service.folder}/Dockerfile differs from {first.folder}/Dockerfile in more than names and port"


def compose(root: Path, services: Fleet) -> Iterator[str]:
    """Valid by Compose's schema; `make generate` writes its entries."""
    yield from _run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(root / "compose.yaml"))


def kubernetes(root: Path, services: Fleet) -> Iterator[str]:
    """Each overlay renders, is valid, and has every process with its image and port, and a setup per database."""
    for overlay in sorted(path.parent for path in root.glob("k8s/overlays/*/kustomization.yaml")):
        done = _call("kubectl", "kustomize", str(overlay))
        if done.returncode != 0:
            yield f"k8s/overlays/{overlay.name} cannot be rendered: {done.stderr.strip()}"
            continue
        with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
            file.write(done.stdout)
            file.flush()
            yield from _run("kubernetes-validate", "-k", KUBERNETES, "--strict", "--quiet", file.name)
        objects = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(done.stdout)}
        yield from (f"k8s/overlays/{overlay.name}: {fault}" for fault in not_delivered(objects, services))


def environment(root: Path, services: Fleet) -> Iterator[str]:
    """`.env.example` says what the settings classes say, and each setting has its sentence."""
    yield from (f"{name} has no description" for name in undescribed(root))
    if (root / FILE).read_text(encoding="utf-8") != env_example(root):
        yield f"{FILE} differs from the settings classes; run: make contracts"


def not_delivered(objects: Mapping[tuple[str, str], dict[str, Any]], services: Fleet) -> Iterator[str]:
    """What a rendered overlay lacks."""
    for name, (service, _) in processes(services.values()).items():
        pod = objects.get(("Deployment", name), {}).get("spec", {}).get("template", {}).get("spec", {})
        if not any(container["image"].startswith(service.image) for container in pod.get("containers", ())):
            yield f"no Deployment {name} runs {service.image}"
            continue
        named = [source["secretRef"]["name"] for source in pod["containers"][0]["envFrom"] if "secretRef" in source]
        if named != [f"{one}-environment" for one in _environments(service)]:
            yield f"Deployment {name} has not the secrets of {service.name}, or others too: {named}"
    for name, service in services.items():
        ports = objects.get(("Service", name), {}).get("spec", {}).get("ports", ())
        if service.port not in [port["port"] for port in ports]:
            yield f"no Service {name} on port {service.port}"
        if service.database and ("Job", f"{name}-setup") not in objects:
            yield f"no Job makes and migrates the database of {name}"


def _environments(service: FleetService) -> list[str]:
    """Whose secret environment a process of the service has: its own, with its own database login."""
    return [service.name] if service.database else []


def _renamed(text: str, names: Mapping[str, str]) -> str:
    for old, new in names.items():
        text = text.replace(old, new)
    return text


def _run(tool: str, *arguments: str) -> Iterator[str]:
    """What the tool said, where it found something."""
    done = _call(tool, *arguments)
    if done.returncode != 0:
        yield f"{tool}: {(done.stdout + done.stderr).strip()}"


def _call(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of the virtualenv, or else of the machine. Raises ToolMissing."""
    own = Path(sys.executable).parent / tool
    path = str(own) if own.is_file() else shutil.which(tool)
    if path is None:
        raise ToolMissing(f"{tool} is not installed")
    return subprocess.run([path, *arguments], capture_output=True, text=True, check=False, timeout=120)  # noqa: S603 - named tools on our own files


CHECKS: Final[Mapping[str, Callable[[Path, Fleet], Iterator[str]]]] = {
    "Dockerfiles": dockerfiles,
    "compose.yaml": compose,
    "k8s": kubernetes,
    FILE: environment,
}


def failures(root: Path) -> Iterator[str]:
    """What is wrong, a line each. A check whose tool this machine lacks is skipped, and printed as not made."""
    services = fleet(root)
    for name, check in CHECKS.items():
        try:
            yield from check(root, services)
        except ToolMissing as missing:
            typer.echo(f"NOT CHECKED {name}: {missing}")


if __name__ == "__main__":
    found = list(failures(repository()))
    typer.echo("\n".join(found) or "The manifests are valid and contain the whole fleet.")
    sys.exit(1 if found else 0)
