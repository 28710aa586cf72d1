"""Reads a route table from a YAML file. A bad file changes nothing and says why."""

from importlib.resources import files
from pathlib import Path

import yaml
from pydantic import ValidationError

from gateway.routes.matching import Matcher
from gateway.routes.model import Table


class TableInvalid(Exception):
    """The file holds no table that can be used; the message names every fault, a line each."""


def load(path: Path | None = None) -> Matcher:
    """The table in the file at `path`, or the fleet's own that ships with the gateway."""
    source = path or files("gateway.routes") / "routes.yaml"
    try:
        written = yaml.safe_load(source.read_text(encoding="utf-8"))
        table = Table.model_validate(written)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TableInvalid(f"{source}: {error}") from error
    except ValidationError as error:
        raise TableInvalid("\n".join([f"{source}:", *_faults(error)])) from None
    return Matcher(table.routes)


def _faults(error: ValidationError) -> list[str]:
    return [
        f"  {'.'.join(str(part) for part in fault['loc']) or 'table'}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors(include_input=False, include_url=False)
    ]
