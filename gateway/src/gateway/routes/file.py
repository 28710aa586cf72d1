"""Reads a route table from a YAML file."""

from collections.abc import Collection
from importlib.resources import files
from pathlib import Path

import yaml
from pydantic import ValidationError

from gateway.routes.matching import Matcher
from gateway.routes.model import Table


class TableInvalid(ValueError):
    """The file has no valid table; the message lists every error, one per line."""


def load(path: Path | None = None, upstreams: Collection[str] | None = None) -> Matcher:
    """A matcher for the table that `read` returns. Raises TableInvalid."""
    return Matcher(read(path, upstreams).routes)


def read(path: Path | None = None, upstreams: Collection[str] | None = None) -> Table:
    """The table in the file at `path`, or the built-in one.

    `upstreams` are the services that have a URL; None leaves that unchecked. Raises TableInvalid.
    """
    source = path or files("gateway.routes") / "routes.yaml"
    try:
        return parse(source.read_bytes(), upstreams)
    except OSError as error:
        raise TableInvalid(f"{source}: {error}") from error
    except TableInvalid as error:
        raise TableInvalid(f"{source}:\n{error}") from error.__cause__


def parse(content: bytes, upstreams: Collection[str] | None = None) -> Table:
    """The table in a file's content. Raises TableInvalid."""
    try:
        return Table.model_validate(yaml.safe_load(content.decode()), context=upstreams)
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise TableInvalid(str(error)) from error
    except ValidationError as error:
        raise TableInvalid("\n".join(_lines(error))) from error


def _lines(invalid: ValidationError) -> list[str]:
    return [
        f"  {'.'.join(str(part) for part in error['loc']) or 'table'}: {error['msg'].removeprefix('Value error, ')}"
        for error in invalid.errors(include_input=False, include_url=False)
    ]
