"""A service just large enough to be tested: one table of its own, migrated as services are."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from shared.resources import Resources
from shared.settings import ServiceSettings
from shared.web.health import HealthChecks

_ENV = "from shared.data.migrations import run\n\nrun()\n"
_FIRST = """
from alembic import op

revision, down_revision = "0001", None


def upgrade():
    op.execute("CREATE TABLE notes (id integer PRIMARY KEY)")
"""


class NotesSettings(ServiceSettings):
    service = "notes"


@dataclass(frozen=True)
class Notes:
    migrations: Path
    name: str = "notes"
    settings: type[ServiceSettings] = NotesSettings

    def create_app(self, settings: Any) -> FastAPI:
        @asynccontextmanager
        async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
            resources = Resources()
            resources.add(HealthChecks(self.name))
            yield {"resources": resources}

        app = FastAPI(lifespan=lifespan)

        @app.get("/readyz")
        async def readyz() -> dict[str, str]:
            return {"status": "ok"}

        return app


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Notes:
    folder = tmp_path_factory.mktemp("notes") / "migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(_ENV)
    (folder / "versions" / "0001_first.py").write_text(_FIRST)
    return Notes(folder)
