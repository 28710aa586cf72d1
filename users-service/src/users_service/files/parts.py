"""What the slice adds to the process: its storage, and the sweeper that runs beside the API."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI

from shared.supervision import Work
from shared.web import idempotency_keys
from users_service.files.storage import Storage
from users_service.files.sweep import Sweeper


@asynccontextmanager
async def open_storage(app: FastAPI) -> AsyncIterator[None]:
    storage = app.state.storage = Storage(app.state.parts.settings.storage_url)
    app.state.health.others["storage"] = storage.check
    yield


def works(app: FastAPI) -> Mapping[str, Work]:
    parts = app.state.parts
    return idempotency_keys.works(app) | {
        "sweeper": Sweeper(parts.database, app.state.storage, parts.settings.files.sweep_interval_s).run
    }
