"""k8s/: each service's folder in the base, the base's lists, and the images of each overlay.

A Deployment's block ends inside its container: resources, and whatever else is tuned, follow it by hand. Settings
follow the block of a service's kustomization.yaml.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from shared.dev.fleet import FleetService, inner_address, service_urls
from shared.dev.generate.blocks import BEGIN, END, GeneratedFile

_BASE: Final = "k8s/base"
_RESOURCES: Final = """\
          resources:
            requests: {cpu: 100m, memory: 192Mi}
            limits: {memory: 512Mi}
"""
"""What a new process starts with."""


def files(root: Path, services: Mapping[str, FleetService]) -> Iterator[GeneratedFile]:
    yield _base(services)
    for service in services.values():
        yield from _service(service)
    for path in sorted(root.glob(f"{_BASE}/*/deployment.yaml")):
        if path.parent.name not in services:  # of a service that left the list: its blocks are refused
            yield GeneratedFile(str(path.relative_to(root)), dict[str, str]().get)
    for path in sorted(root.glob("k8s/overlays/*/kustomization.yaml")):
        yield GeneratedFile(str(path.relative_to(root)), lambda name: _images(name, services))


def _base(services: Mapping[str, FleetService]) -> GeneratedFile:
    blocks = {
        "services": "".join(f"  - {name}\n" for name in services),
        "where the services are": "".join(
            f"      - {name}={url}\n" for name, url in service_urls(services.values(), inner_address).items()
        ),
    }
    return GeneratedFile(f"{_BASE}/kustomization.yaml", blocks.get, required=tuple(blocks))


def _images(name: str, services: Mapping[str, FleetService]) -> str | None:
    """The block `images tagged <tag>`."""
    tag = name.removeprefix("images tagged ")
    if tag == name:
        return None
    return "".join(f"  - {{name: {service.image}, newTag: {tag}}}\n" for service in services.values())


def _service(service: FleetService) -> Iterator[GeneratedFile]:
    yield _file(service, "kustomization", _kustomization(service))
    yield _file(service, "service", _network_service(service))
    yield _file(service, "deployment", _deployment(service, service.name, "serve"), _RESOURCES)
    for verb in service.processes:
        yield _file(service, verb, _deployment(service, verb, verb), _RESOURCES)
    if service.database:
        yield _file(service, "setup", _setup(service))


def _file(service: FleetService, name: str, block: str, by_hand: str = "") -> GeneratedFile:
    path = f"{_BASE}/{service.name}/{name}.yaml"
    return GeneratedFile(path, {name: block}.get, (name,), initial=f"{BEGIN}{name}\n{END}\n{by_hand}")


def _kustomization(service: FleetService) -> str:
    resources = ["setup"] if service.database else []
    resources += ["deployment", *service.processes, "service"]
    return f"""\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
{"".join(f"  - {name}.yaml{chr(10)}" for name in resources)}\
components: [../common]
configMapGenerator:
  - name: {service.name}-settings
    literals:
      - 'REVOCATIONS__FEEDS={json.dumps(service.follows)}'
"""


def _network_service(service: FleetService) -> str:
    ports = {service.name: ("http", service.port)}
    if service.admin_port is not None:
        ports[f"{service.name}-admin"] = ("admin", service.admin_port)
    return "---\n".join(
        f"""\
apiVersion: v1
kind: Service
metadata:
  name: {name}
  labels: {{app.kubernetes.io/name: {service.name}}}
spec:
  selector: {{app.kubernetes.io/name: {service.name}}}
  ports:
    - {{name: {target}, port: {port}, targetPort: {target}}}
"""
        for name, (target, port) in ports.items()
    )


def _deployment(service: FleetService, name: str, verb: str) -> str:
    return f"""\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  labels: {{app.kubernetes.io/name: {name}}}
spec:
  selector:
    matchLabels: {{app.kubernetes.io/name: {name}}}
  template:
    metadata:
      labels: {{app.kubernetes.io/name: {name}}}
    spec:
      volumes:
        - name: identity
          secret: {{secretName: {service.name}-files, defaultMode: 0440}}
      containers:
        - name: process
          image: {service.image}
          args: [{verb}]
          ports:
{_container_ports(service, verb)}\
          envFrom:
{_environment(service)}\
{_port_setting(service, verb)}\
"""


def _container_ports(service: FleetService, verb: str) -> str:
    ports = {"http": service.port if verb == "serve" else service.processes[verb]}
    if verb == "serve" and service.admin_port is not None:
        ports["admin"] = service.admin_port
    return "".join(f"            - {{name: {name}, containerPort: {port}}}\n" for name, port in ports.items())


def _port_setting(service: FleetService, verb: str) -> str:
    """Where a process beside `serve` answers its probes."""
    if verb == "serve":
        return ""
    return f'          env: [{{name: {verb.upper()}__PORT, value: "{service.processes[verb]}"}}]\n'


def _environment(service: FleetService) -> str:
    sources = ["configMapRef: {name: fleet}", f"configMapRef: {{name: {service.name}-settings}}"]
    if service.database:
        sources.append(f"secretRef: {{name: {service.name}-environment}}")
    return "".join(f"            - {source}\n" for source in sources)


def _setup(service: FleetService) -> str:
    """A Job with a container for each verb; all but the last, which needs less, have the administrator's login."""
    return f"""\
apiVersion: batch/v1
kind: Job
metadata:
  name: {service.name}-setup
  labels: {{app.kubernetes.io/name: {service.name}, app.kubernetes.io/component: setup}}
spec:
  template:
    metadata:
      labels: {{app.kubernetes.io/name: {service.name}-setup, app.kubernetes.io/component: setup}}
    spec:
      initContainers:
        - name: database
          image: {service.image}
          envFrom: &environment
{_environment(service)}\
            - secretRef: {{name: owner-environment}}
        - name: schema
          image: {service.image}
          envFrom: *environment
      containers:
        - name: bindings
          image: {service.image}
          envFrom: # not the administrator's login, which bindings do not need
{_environment(service)}\
"""
