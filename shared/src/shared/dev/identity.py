"""A key for each service and the trust file that says who believes whom: for development and for tests."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from shared.dev.fleet import FleetService
from shared.identity.keys import SigningKey, generate_key, parse_private_key, write_private_key

DEVELOPMENT_ISSUER: Final = "flotilla-development"
"""Signs the tokens of `make token`; only a development's trust file names it."""


def load_keys(folder: Path, names: Iterable[str]) -> dict[str, SigningKey]:
    """The private key of each name, from `<folder>/<name>.pem`; made (0600) where there is none yet."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {name: _load_key(folder / f"{name}.pem") for name in names}


def _load_key(path: Path) -> SigningKey:
    if path.is_file():
        return parse_private_key(path.read_bytes())
    key = generate_key()
    write_private_key(path, key)
    return key


def trust_document(keys: Mapping[str, SigningKey], services: Mapping[str, FleetService]) -> dict[str, Any]:
    """The trust file for these keys, with the terms of the fleet's list; the development issuer is listed apart."""
    trusted = {name: _terms(key, services.get(name)) for name, key in keys.items() if name != DEVELOPMENT_ISSUER}
    document: dict[str, Any] = {"services": trusted}
    if (issuer := keys.get(DEVELOPMENT_ISSUER)) is not None:
        document["development_issuer"] = {"issuer": DEVELOPMENT_ISSUER, "keys": [issuer.public_jwk]}
    return document


def _terms(key: SigningKey, service: FleetService | None) -> dict[str, Any]:
    terms: dict[str, Any] = {"keys": [key.public_jwk]}
    if service is not None:
        terms["grants"] = service.grants
        if service.acts_with is not None:
            terms["acts_with"] = service.acts_with
    return terms


def write_private(path: Path, text: str) -> None:
    """Put `text` into a file that only its owner reads, replacing an older one at once."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)


def write_identity(
    folder: Path, services: Mapping[str, FleetService], also: Iterable[str] = ()
) -> dict[str, SigningKey]:
    """Keys and `<folder>/trust.json` for the services, the names in `also` and the development issuer."""
    keys = load_keys(folder, {*services, *also, DEVELOPMENT_ISSUER})
    write_private(folder / "trust.json", json.dumps(trust_document(keys, services), indent=2))
    return keys
