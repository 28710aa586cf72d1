"""compose.yaml: a block for each process, and one for each place that lists all services."""

import json
from collections.abc import Iterable, Mapping
from textwrap import indent

from shared.dev.fleet import FleetService, inner_address, processes, service_urls
from shared.dev.generate.blocks import GeneratedFile

_DONE = "{condition: service_completed_successfully}"


def file(services: Mapping[str, FleetService]) -> GeneratedFile:
    """A process's block ends inside its `environment`: settings and other keys follow it by hand."""
    stored = [service for service in services.values() if service.database]
    blocks = {
        "where the services are": _lines(
            f"  {name}: {url}" for name, url in service_urls(services.values(), inner_address).items()
        ),
        "what runs before a service": _lines(f"    {service.name}-setup: {_DONE}" for service in stored),
        **{
            name: indent(_process(name, service, verb), "  ")
            for name, (service, verb) in processes(services.values()).items()
        },
        "database, schema and bindings of each service": indent("".join(map(_setup, stored)), "  "),
        "keys of the services": _lines(_secrets(services.values())),
    }
    return GeneratedFile("compose.yaml", blocks.get, required=tuple(blocks))


def _process(name: str, service: FleetService, verb: str) -> str:
    head = f"{name}:\n  <<: *service\n  image: {service.image}:dev\n"
    if verb == "serve":
        return head + _serving(service)
    port = service.processes[verb]
    return (
        f"{head}  command: [{verb}]\n{_login(service)}"
        f'  expose: ["{port}"]\n  secrets: *{service.name}-secrets\n{_health(port)}'
        f'  environment:\n    <<: *{service.name}-environment\n    {verb.upper()}__PORT: "{port}"\n'
    )


def _serving(service: FleetService) -> str:
    ports = [str(port) for port in (service.port, service.admin_port) if port is not None]
    mounted = {f"{service.name}-key": "key.pem", "trust": "trust.json", **{name: name for name in service.secrets}}
    secrets = [f"    - {{source: {source}, target: {target}}}\n" for source, target in mounted.items()]
    return (
        f"  build: {{context: ., dockerfile: {service.folder}/Dockerfile}}\n{_login(service)}"
        f"  expose: {json.dumps(ports)}\n  secrets: &{service.name}-secrets\n{''.join(secrets)}{_health(service.port)}"
        f"  environment: &{service.name}-environment\n    <<: *environment\n"
        f"    REVOCATIONS__FEEDS: '{json.dumps(service.follows)}'\n"
    )


def _login(service: FleetService) -> str:
    """The environment with the service's own database login."""
    return f"  env_file: [.secrets/{service.name}.env]\n" if service.database else ""


def _health(port: int) -> str:
    probe = f"from urllib.request import urlopen; urlopen('http://127.0.0.1:{port}/readyz')"
    return f'  healthcheck:\n    <<: *ready\n    test: [CMD, python, -c, "{probe}"]\n'


def _setup(service: FleetService) -> str:
    verbs = "; ".join(f"python -m {service.package} {verb}" for verb in ("db create", "migrate", "events declare"))
    return (
        f"{service.name}-setup:\n  <<: *setup\n  image: {service.image}:dev\n"
        f"  env_file: [.secrets/{service.name}.env, .secrets/owner.env]\n"
        f'  entrypoint: [sh, -ec]\n  command: ["{verbs}"]\n'
    )


def _secrets(services: Iterable[FleetService]) -> Iterable[str]:
    for service in services:
        yield f"  {service.name}-key: {{file: .secrets/{service.name}.pem}}"
        yield from (f"  {name}: {{file: .secrets/{name}}}" for name in service.secrets)


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
