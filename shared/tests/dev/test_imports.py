"""A process imports only what it uses: these packages cost CPU and memory in every process."""

import os
import re
import subprocess
import sys

import pytest

from shared.dev.fleet import fleet, processes, repository

PROCESSES = processes(fleet(repository()).values())

UNUSED = {"aio_pika", "alembic", "mako", "opentelemetry.exporter", "opentelemetry.instrumentation"}
"""The bus that no setting named, the schema's migrations, the collector that no setting named."""

STORES = {"asyncpg", "redis", "sqlalchemy"}
"""The clients of the stores (shared/stores.py): for services with a database only."""


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_without_settings_imports_nothing_that_it_would_not_use(name, tmp_path):
    service, verb = PROCESSES[name]
    environment = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG")}
    ended = subprocess.run(  # noqa: S603 - a package of the fleet
        [sys.executable, "-X", "importtime", "-m", service.package, verb],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    imported = set(re.findall(r"^import time: .* \| +(\S+)$", ended.stderr, re.MULTILINE))
    assert ended.returncode == 2, ended.stderr[-2000:]
    assert {f"{service.package}.settings", "shared.settings"} <= imported
    unused = UNUSED if service.database else UNUSED | STORES
    assert not {module for module in imported if module.startswith(tuple(unused))}
