"""A key for each service and the trust file that says who believes whom: for development and for tests."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from shared.identity.keys import SigningKey, generate_key, parse_private_key, write_private_key

TASKS_CAP: Final = (
    "files:read", "user:read", "profile:read", "posts:read", "analytics:read", "notifications:write",
)  # fmt: skip
"""What tasks-service may do for a person while a job of theirs runs."""

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


def trust_document(keys: Mapping[str, SigningKey]) -> dict[str, Any]:
    """The trust file for these keys; the development issuer's own is listed apart."""
    services = {name: _terms(name, key) for name, key in keys.items() if name != DEVELOPMENT_ISSUER}
    document: dict[str, Any] = {"services": services}
    if (issuer := keys.get(DEVELOPMENT_ISSUER)) is not None:
        document["development_issuer"] = {"issuer": DEVELOPMENT_ISSUER, "keys": [issuer.public_jwk]}
    return document


def _terms(name: str, key: SigningKey) -> dict[str, Any]:
    terms: dict[str, Any] = {"keys": [key.public_jwk]}
    if name == "gateway":
        terms["may"] = "speak_for_anyone"
    if name == "tasks":
        terms["cap"] = list(TASKS_CAP)
    return terms


def write_private(path: Path, text: str) -> None:
    """Put `text` into a file that only its owner reads, replacing an older one at once."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)


def write_identity(folder: Path, names: Iterable[str]) -> dict[str, SigningKey]:
    """Keys and `<folder>/trust.json` for the services `names` and the development issuer."""
    keys = load_keys(folder, [*names, DEVELOPMENT_ISSUER])
    write_private(folder / "trust.json", json.dumps(trust_document(keys), indent=2))
    return keys
