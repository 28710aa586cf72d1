"""The settings of a long-running process, checked as far as possible before anything is opened."""

from functools import partial

from shared.identity.keys import KeyInvalid, parse_private_key
from shared.identity.trust import TrustInvalid, parse_trust
from shared.settings import MountedFile, S, ServiceSettings, SettingsInvalid, load


def load_checked(kind: type[S]) -> tuple[S, list[str]]:
    """The settings of a long-running process, and all errors that prevent its start, a line each.

    Raises SettingsInvalid if a setting cannot be read at all.
    """
    errors = []
    try:
        settings = load(kind)
    except SettingsInvalid as invalid:
        if not isinstance(invalid.unfit, kind):
            raise
        settings, errors = invalid.unfit, [str(invalid)]
    if missing := settings.missing_settings():
        errors += [f"{kind.service}: missing settings; .env.example lists all:", *(f"  {line}" for line in missing)]
    if found := _mounted_file_errors(settings):
        errors += [f"{kind.service}: invalid mounted files:", *found]
    return settings, errors


def _mounted_file_errors(settings: ServiceSettings) -> list[str]:
    mounted: list[MountedFile] = [
        ("IDENTITY__KEY_FILE", settings.identity.key_file, parse_private_key),
        ("IDENTITY__TRUST_FILE", settings.identity.trust_file, partial(parse_trust, development=settings.development)),
        *settings.mounted_files(),
    ]
    errors = []
    for name, path, parse in mounted:
        if path is None:
            continue
        try:
            parse(path.read_bytes())
        except OSError as error:
            errors.append(f"  {name} is {path}: {error.strerror}")
        except (KeyInvalid, TrustInvalid, ValueError) as error:
            errors += [f"  {name} is {path}: {line}" for line in str(error).splitlines()]
    return errors
