"""pyproject.toml's lists of packages, the images' build context, and Skaffold's list of images."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from shared.dev.fleet import GATEWAY, FleetService
from shared.dev.generate.blocks import GeneratedFile

Fleet = Mapping[str, FleetService]

_LIST: Final = re.compile(r"(?P<key>[\w-]+) = \[(?P<item>.*(?P<kind>\{\w+\}).*)\]")
_SHARED: Final = "shared"
_MAX_LINE: Final = 120


def files(services: Fleet) -> Iterator[GeneratedFile]:
    yield GeneratedFile("pyproject.toml", lambda name: toml_list(name, services))
    context = [f"!{folder}/src" for folder in _values("{folder}", services)]
    yield GeneratedFile(".dockerignore", {"sources": "\n".join(context)}.get, required=("sources",))
    images = "".join(map(_image, services.values()))
    yield GeneratedFile("skaffold.yaml", {"images": images}.get, required=("images",))


def toml_list(pattern: str, services: Fleet) -> str | None:
    """The list that a block's own name describes: `containers = [{service}]`; None when it describes none.

    The item is repeated for each value of its placeholder: `{service}`, the packages of the services behind the
    gateway; `{application}`, those and the gateway; `{package}`, those and `shared`; `{folder}`, the folders of all.
    """
    found = _LIST.fullmatch(pattern)
    if found is None or not (values := _values(found["kind"], services)):
        return None
    items = [f'"{found["item"].replace(found["kind"], value)}"' for value in values]
    line = f"{found['key']} = [{', '.join(items)}]"
    if len(line) <= _MAX_LINE:
        return line
    return "\n".join([f"{found['key']} = [", *(f"    {item}," for item in items), "]"])


def _values(kind: str, services: Fleet) -> Sequence[str]:
    applications = [service.package for service in services.values()]
    return {
        "{service}": [service.package for service in services.values() if service.name != GATEWAY],
        "{application}": applications,
        "{package}": [_SHARED, *applications],
        "{folder}": [_SHARED, *(service.folder for service in services.values())],
    }.get(kind, [])


def _image(service: FleetService) -> str:
    return f"""\
    - image: {service.image}
      context: .
      docker: {{dockerfile: {service.folder}/Dockerfile}}
"""
