"""A guard for servers that a test starts, and a fleet small enough to start in a second."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.dev.launcher.running_fleet import Plan
from shared.dev.servers.guard import Guard

collect_ignore = ["sixth_service/orders-service"]  # a template, whose tests run in a copy of the repository

_LIST = """
[tool.flotilla.services.chat]
folder = "tiny_chat"
port = 0
processes = { worker = 0 }
follows = ["auth", "users"]
grants = ["revocations:read"]

[tool.flotilla.services.gateway]
folder = "tiny_gateway"
port = 0
admin_port = 0
database = false
acts_with = ["*"]

[tool.flotilla.services.auth]
folder = "tiny_auth"
port = 0
jwks = "/keys.json"

[tool.flotilla.services.users]
folder = "tiny_users"
port = 0

[tool.flotilla.services.tasks]
folder = "tiny_tasks"
port = 0
mail = true
"""

# What the launcher asks of a service: the verbs, /readyz for each process, and JSON lines.
_SERVICE = """
import json, os, signal, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        inherited = "shared.cli" in sys.modules  # it imports nothing of shared by itself
        body = json.dumps({"path": self.path, "env": dict(os.environ), "inherited": inherited}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
verb = sys.argv[1]
print(json.dumps({"timestamp": "2026-01-01T12:00:00Z", "event": verb, "level": "info"}), flush=True)
ports = {"serve": "SERVER__PORT", "worker": "WORKER__PORT"}
if verb in ports:
    ThreadingHTTPServer(("127.0.0.1", int(os.environ[ports[verb]])), Handler).serve_forever()
"""


@pytest.fixture
def guard() -> Iterator[Guard]:
    made = Guard()
    yield made
    made.close()


@pytest.fixture
def tiny_root(tmp_path: Path) -> Path:
    """A repository whose services are forty lines each; a space in its path, as people have."""
    root = tmp_path / "tiny fleet"
    root.mkdir()
    (root / "pyproject.toml").write_text(_LIST)
    for name in ("chat", "gateway", "auth", "users", "tasks"):
        package = root / f"tiny_{name}"
        package.mkdir()
        (package / "__main__.py").write_text(_SERVICE)
    return root


@pytest.fixture
def plan(tiny_root: Path) -> Plan:
    """The tiny fleet with Valkeys only: its services want no PostgreSQL."""
    named = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1", "BUS": "valkey"}
    return Plan(tiny_root, tiny_root / ".data", free_ports=True, environment=named, ready_s=60)
