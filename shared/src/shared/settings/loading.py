"""Reading the settings of a process, with every error at once."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from dotenv import dotenv_values
from pydantic import ValidationError

from shared.settings.sections import Environment
from shared.settings.service import ServiceSettings, Unfit

S = TypeVar("S", bound=ServiceSettings)


class SettingsInvalid(Exception):
    """The environment does not describe a service that can run; the message lists every entry.

    `unfit` are the settings where they are whole, and production refuses them.
    """

    def __init__(self, message: str, *, unfit: ServiceSettings | None = None) -> None:
        super().__init__(message)
        self.unfit = unfit


def load(cls: type[S], folder: Path | None = None) -> S:
    """The settings of `cls` from `folder`'s dotenv files (default: the working folder) and the environment.

    Raises SettingsInvalid with every error, a line each.
    """
    folder = folder or Path.cwd()
    environment = os.environ.get("ENVIRONMENT") or _named_in(folder / ".env") or Environment.PRODUCTION
    files: Sequence[Path] = (folder / ".env", folder / f".env.{environment}")
    try:
        return cls(_env_file=files)
    except ValidationError as error:
        causes = [entry.get("ctx", {}).get("error") for entry in error.errors(include_input=False, include_url=False)]
        unfit = next((cause.settings for cause in causes if isinstance(cause, Unfit)), None)
        raise SettingsInvalid("\n".join(_lines(cls, error)), unfit=unfit) from None


def _named_in(dotenv: Path) -> str | None:
    return dotenv_values(dotenv).get("ENVIRONMENT") if dotenv.is_file() else None


def _lines(cls: type[ServiceSettings], error: ValidationError) -> list[str]:
    lines = [f"{cls.service}: invalid settings:"]
    for entry in error.errors(include_input=False, include_url=False):
        name = "__".join(str(part) for part in entry["loc"] if part != "[key]").upper() or "settings"
        lines += [f"  {name}: {sentence}" for sentence in entry["msg"].removeprefix("Value error, ").split("; ")]
    return lines
