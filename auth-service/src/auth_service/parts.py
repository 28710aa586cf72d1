"""What this process holds beside the shared parts: the keyring, the key it signs with, the password hashing."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI

from auth_service import housekeeping
from auth_service.accounts.passwords import Passwords
from auth_service.keyring import Keyring
from auth_service.settings import AuthSettings
from auth_service.signing_keys.held import HeldKey
from shared.parts import Parts
from shared.supervision import Work


@asynccontextmanager
async def open_keys(app: FastAPI) -> AsyncIterator[None]:
    """The keyring and the signing key. Raises MissingSetting, KeyringInvalid or OSError: nothing works without."""
    parts: Parts = app.state.parts
    keyring = app.state.keyring = Keyring.load(app.state.parts.settings.keys)
    held = app.state.signing_key = HeldKey(parts.database, keyring)
    app.state.health.required["signing_key"] = held.check
    yield


@asynccontextmanager
async def open_passwords(app: FastAPI) -> AsyncIterator[None]:
    passwords = app.state.passwords = Passwords(app.state.parts.settings.passwords)
    try:
        yield
    finally:
        await passwords.close()


def works(app: FastAPI) -> Mapping[str, Work]:
    parts: Parts = app.state.parts
    settings: AuthSettings = app.state.parts.settings
    return {
        "signing key": app.state.signing_key.run,
        "housekeeping": lambda: housekeeping.run(parts.database, parts.client("users"), settings),
    }
