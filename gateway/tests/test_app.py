"""The gateway as a process: two ports, both loopback addresses, a new route table, a clean shutdown, bad settings."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from shared.testing.waiting import eventually


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """A gateway started by its command line."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.port, self.admin_port = free_port(), free_port()
        ports = {"SERVER__PORT": str(self.port), "ADMIN__PORT": str(self.admin_port)}
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "serve"],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, **environment, **ports},
            )


@pytest.fixture
def started(services: dict[str, str], auth: Any, people: Any, cache_url: str, tmp_path: Path) -> Iterator[Process]:
    routes = tmp_path / "routes.yaml"
    routes.write_bytes(_table("/one"))
    process = Process(
        {
            "ENVIRONMENT": "testing",
            "REDIS_URL": cache_url,
            "ROUTES_FILE": str(routes),
            "IDENTITY__KEY_FILE": str(people.key_file("gateway")),
            "IDENTITY__TRUST_FILE": str(people.trust_file),
            "IDENTITY__JWKS_URL": auth.jwks_url,
            "REVOCATIONS__FEEDS": '["auth", "users"]',
            **{f"SERVICES__{name.upper()}": url for name, url in services.items()},
        },
        tmp_path,
    )
    yield process
    if process.process.poll() is None:
        process.process.kill()
    process.process.wait()


def _table(path: str) -> bytes:
    return orjson.dumps({"routes": [{"path": path, "upstream": "chat", "methods": {"GET": "public"}}]})


async def test_it_serves_two_ports_reloads_the_table_and_shuts_down_cleanly(started: Process, tmp_path: Path) -> None:
    async with httpx2.AsyncClient() as client:

        async def status(path: str, port: int = started.port, host: str = "127.0.0.1") -> int:
            try:
                return (await client.get(f"http://{host}:{port}{path}")).status_code
            except httpx2.ConnectError:
                return 0

        async def ready() -> bool:
            return await status("/readyz") == 200

        await eventually(ready, within_s=90)
        if socket.has_ipv6:
            assert await status("/readyz", host="[::1]") in (200, 0)
        for path in ("/health/detailed", "/metrics", "/config", "/readyz"):
            assert await status(path, started.admin_port) == 200
        assert (await status("/one"), await status("/two"), await status("/metrics")) == (200, 404, 404)

        (tmp_path / "routes.yaml").write_text("routes: [", encoding="utf-8")
        started.process.send_signal(signal.SIGHUP)
        await eventually(lambda: "routes_reload_failed" in started.log.read_text())
        assert await status("/one") == 200

        (tmp_path / "routes.yaml").write_bytes(_table("/two"))
        started.process.send_signal(signal.SIGHUP)

        async def reloaded() -> bool:
            return await status("/two") == 200

        await eventually(reloaded)
        assert await status("/one") == 404
        started.process.send_signal(signal.SIGTERM)
    await eventually(lambda: started.process.poll() is not None, within_s=30)
    assert started.process.returncode == 0
    assert '"route":"/two"' in started.log.read_text()


def test_invalid_settings_are_reported_in_a_sentence_each(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "gateway", "serve"],
        env={**os.environ, "ENVIRONMENT": "production", "LIMITS__SCALE": "100", "PUBLIC_URL": "http://x"},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=90,
        check=False,
    )
    assert ended.returncode == 2
    assert "LIMITS__SCALE" in ended.stderr
    assert "https" in ended.stderr
    for name in ("IDENTITY__JWKS_URL", "REVOCATIONS__FEEDS lacks auth, users", "REDIS_URL"):
        assert name in ended.stderr
    assert "Traceback" not in ended.stderr


URLS = {
    "IDENTITY__JWKS_URL": ("auth:8001/jwks.json", "IDENTITY__JWKS_URL: must be a URL"),
    "PUBLIC_URL": ("https://", "PUBLIC_URL: must be a URL"),
    "LOG__FILE": ("missing/log", "LOG__FILE: the folder"),
    "REDIS_URL": ("redis://cache:99999", "REDIS_URL: must be a URL"),
    "SERVICES__CHAT": ("chat:8003", "SERVICES__CHAT: must be a URL"),
    "UPSTREAMS__CHAT": ('["http://a", "ftp://b"]', "UPSTREAMS__CHAT__1: must be a URL"),
}


NO_CACHE = {"REDIS_URL": ("cache:6379", "REDIS_URL: must be a URL such as redis://")}


MISSING = {
    "IDENTITY__KEY_FILE": ("missing.pem", "IDENTITY__KEY_FILE is missing.pem: No such file"),
    "IDENTITY__TRUST_FILE": (__file__, "IDENTITY__TRUST_FILE is "),
}


NO_KEY = {"IDENTITY__KEY_FILE": (__file__, "IDENTITY__KEY_FILE is ")}


@pytest.mark.parametrize("invalid", [URLS, NO_CACHE, MISSING, NO_KEY])
def test_unusable_settings_are_reported_at_startup(tmp_path: Path, invalid: dict[str, tuple[str, str]]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "gateway", "serve"],
        env={**os.environ, "ENVIRONMENT": "testing", **{name: value for name, (value, _) in invalid.items()}},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=90,
        check=False,
    )
    assert ended.returncode == 2
    assert [reason for _, reason in invalid.values() if reason not in ended.stderr] == []
    assert "Traceback" not in ended.stderr
