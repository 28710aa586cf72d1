"""Which services are trusted, and for what: the mounted trust file (`IDENTITY__TRUST_FILE`), the same everywhere.

    {"services": {"gateway": {"keys": [JWK, …], "grants": ["tickets:redeem"], "acts_with": ["*"]},
                  "tasks": {"keys": [JWK], "grants": ["memberships:read"], "acts_with": ["files:read", "profile:read"]},
                  "auth": {"keys": [JWK], "grants": ["registrations:write"]}},
     "development_issuer": {"issuer": "flotilla-development", "keys": [JWK]}}

`grants` are the internal operations that a service may call for itself. `acts_with` are the scopes that it may use for
people at most; `*` is every scope, for the gateway, which forwards people's own requests. A service without `acts_with`
never acts for people. To rotate a key, list the new one beside the old one everywhere, switch the service to the new
one, then remove the old one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    ValidationError,
    field_validator,
    model_validator,
)

from shared.identity.keys import KeyInvalid, VerifyingKey, verifying_key
from shared.identity.scopes import ALL_SCOPES
from shared.identity.watched_file import WatchedFile

GRANTS: Final = frozenset(json.loads((files("shared.identity") / "grants.json").read_bytes()))
"""Every grant that an internal operation of the fleet requires; `make contracts` writes the file."""

EVERY_SCOPE: Final = "*"


class TrustInvalid(Exception):
    """The trust file cannot be used; the message lists every error, a line each, and never a key."""


def _parse_key(jwk: object) -> VerifyingKey:
    try:
        return verifying_key(jwk)
    except KeyInvalid as invalid:
        raise ValueError(str(invalid)) from None


Key = Annotated[InstanceOf[VerifyingKey], BeforeValidator(_parse_key)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TrustedService(_Part):
    """One service's public keys, and what its tokens may be used for."""

    keys: tuple[Key, ...] = Field(min_length=1)
    grants: frozenset[str] = frozenset()
    acts_with: frozenset[str] | None = None

    @field_validator("grants")
    @classmethod
    def _known_grants(cls, grants: frozenset[str]) -> frozenset[str]:
        if unknown := grants - GRANTS:
            raise ValueError(f"unknown grants: {', '.join(sorted(unknown))}; known: {', '.join(sorted(GRANTS))}")
        return grants

    @field_validator("acts_with")
    @classmethod
    def _known_scopes(cls, scopes: frozenset[str] | None) -> frozenset[str] | None:
        if unknown := (scopes or frozenset()) - ALL_SCOPES - {EVERY_SCOPE}:
            raise ValueError(f"unknown scopes: {', '.join(sorted(unknown))}")
        return scopes

    @property
    def forwards(self) -> bool:
        """Whether people's own requests come from it, with all their scopes."""
        return self.acts_with is not None and EVERY_SCOPE in self.acts_with


class DevelopmentIssuer(_Part):
    """Who signs the tokens of `make token`. Only development lists one, and only development accepts one."""

    issuer: str = Field(min_length=1)
    keys: tuple[Key, ...] = Field(min_length=1)


class TrustFile(_Part):
    services: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")], TrustedService]
    development_issuer: DevelopmentIssuer | None = None

    @model_validator(mode="after")
    def _a_key_has_one_owner(self) -> Self:
        owners: dict[str, str] = {}
        for owner, keys in self.key_rings():
            for key in keys:
                if owners.setdefault(key.kid, owner) != owner or owners.setdefault(key.thumbprint, owner) != owner:
                    raise ValueError(f"{owners[key.kid]} and {owner} list the same key")
        return self

    def key_rings(self) -> list[tuple[str, tuple[VerifyingKey, ...]]]:
        rings = [(name, service.keys) for name, service in self.services.items()]
        development = self.development_issuer
        return rings if development is None else [*rings, (development.issuer, development.keys)]


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key together with the service that signs with it."""

    service: str
    key: VerifyingKey
    terms: TrustedService


@dataclass(frozen=True, slots=True)
class Trust:
    """The trust file, indexed by the name of the key."""

    services: Mapping[str, TrustedKey]
    development: Mapping[str, VerifyingKey]
    development_issuer: str | None


def parse_trust(document: bytes, *, development: bool) -> Trust:
    """What the bytes of a trust file say. Raises TrustInvalid with all errors at once.

    Outside `development` a file that lists a development issuer is an error.
    """
    try:
        file = TrustFile.model_validate_json(document)
    except ValidationError as error:
        raise TrustInvalid("\n".join(_sentence(entry) for entry in _entries(error))) from None
    if file.development_issuer and not development:
        raise TrustInvalid("development_issuer: allowed in development only")
    return _indexed(file)


def watch_trust(path: Path, *, development: bool) -> WatchedFile[Trust]:
    """The trust file at `path`, followed as it changes. Raises TrustInvalid or OSError for the first reading only."""
    return WatchedFile(path, lambda document: parse_trust(document, development=development), errors=(TrustInvalid,))


def _indexed(file: TrustFile) -> Trust:
    services = {key.kid: TrustedKey(name, key, terms) for name, terms in file.services.items() for key in terms.keys}
    issuer = file.development_issuer
    return Trust(services, {key.kid: key for key in issuer.keys} if issuer else {}, issuer.issuer if issuer else None)


def _entries(error: ValidationError) -> list[Any]:
    return list(error.errors(include_input=False, include_url=False, include_context=False))


def _sentence(entry: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in entry["loc"]) or "the file"
    return f"{place}: {str(entry['msg']).removeprefix('Value error, ')}"
