"""`.env.example`: every setting there is, with its default and a sentence, written from the settings classes.

`python -m shared.dev.checks.env_example` writes it anew; `make manifests` says when it is not what the classes say.
"""

import importlib
import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import typer
from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from shared.dev.fleet import FleetService, fleet, repository
from shared.settings import OwnerSettings, ServiceSettings

FILE: Final = ".env.example"
_HEAD: Final = """\
# All settings with their defaults. Copy this file to .env or .env.<environment>; the second overrides the first, and
# the process's environment overrides both. `make up` needs none of this. A line without a value is unset by default.
# Generated from the settings classes by: python -m shared.dev.checks.env_example
"""


def env_example(root: Path) -> str:
    """The whole file."""
    shared = dict(_settings(ServiceSettings))
    parts = [_part("Every service", shared), _part("`migrate` and `db create` only", dict(_settings(OwnerSettings)))]
    for service in fleet(root).values():
        own = {name: field for name, field in _settings(_class_of(service)) if name not in shared}
        parts.append(_part(f"{service.folder} only", own))
    return "\n".join([_HEAD, *parts])


def undescribed(root: Path) -> list[str]:
    """The settings without a sentence."""
    classes: list[type[BaseModel]] = [ServiceSettings, OwnerSettings]
    classes += [_class_of(service) for service in fleet(root).values()]
    return sorted({name for found in classes for name, field in _settings(found) if not field.description})


def _class_of(service: FleetService) -> type[ServiceSettings]:
    """The settings of one service; the fleet's list names the module, since shared imports no service."""
    module = importlib.import_module(f"{service.package}.settings")
    found = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, ServiceSettings)]
    return next(value for value in found if value is not ServiceSettings)


def _settings(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Each setting by the name of its variable, those of nested sections too."""
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        variable = prefix + str(alias.choices[0] if isinstance(alias, AliasChoices) else name).upper()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _settings(field.annotation, f"{variable}__")
        else:
            yield variable, field


def _part(title: str, settings: Mapping[str, FieldInfo]) -> str:
    head = f"# --- {title} ".ljust(120, "-")
    return "\n".join([head, "", *(_text(name, field) for name, field in settings.items())])


def _text(name: str, field: FieldInfo) -> str:
    """A setting's sentence, then its name and default, commented out."""
    sentence = textwrap.wrap(field.description or "", 118, initial_indent="# ", subsequent_indent="# ")
    return "\n".join([*sentence, f"#{name}={_shown(field)}", ""])


def _shown(field: FieldInfo) -> str:
    """The default as it would be written; nothing for one that is unset or depends on the machine."""
    if field.default is PydanticUndefined or field.default is None:
        return ""
    value: Any = to_jsonable_python(field.default)
    return value if isinstance(value, str) else json.dumps(value)


if __name__ == "__main__":
    (repository() / FILE).write_text(env_example(repository()), encoding="utf-8")
    typer.echo(f"{FILE} is written.")
