"""The small fleet of fleet.py as fixtures."""

import json
import time
from pathlib import Path

import pytest

from shared.identity.access_tokens import AccessTokenVerifier
from shared.identity.jwks import Jwks
from shared.identity.principal import Principal

from .fleet import PUBLIC_URL, Clock, Fleet, KeySource, person


@pytest.fixture(scope="session")
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def source(fleet: Fleet) -> KeySource:
    return KeySource(fleet.access)


@pytest.fixture
def clock() -> Clock:
    return Clock(time.time())


@pytest.fixture
async def jwks(source: KeySource, clock: Clock) -> Jwks:
    jwks = Jwks(source.fetch, clock=clock)
    assert await jwks.refresh()
    return jwks


@pytest.fixture
def access(jwks: Jwks, clock: Clock) -> AccessTokenVerifier:
    return AccessTokenVerifier(jwks, public_url=PUBLIC_URL, clock=clock)


@pytest.fixture
def ann() -> Principal:
    return person()


@pytest.fixture
def mounted(tmp_path: Path, fleet: Fleet) -> Path:
    path = tmp_path / "trust.json"
    path.write_text(json.dumps(fleet.document()))
    return path
