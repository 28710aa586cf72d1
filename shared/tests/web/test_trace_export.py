"""Spans reach the collector that a setting names; the exporter is imported by that setting alone."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

SPAN = """
import sys
from shared.settings import TelemetrySettings
from shared.telemetry import traces

provider = traces.configure(TelemetrySettings(otlp_endpoint=sys.argv[1], sample_ratio=1), "probe")
provider.get_tracer("probe").start_span("seen").end()
provider.force_flush()
"""


class _Collector(BaseHTTPRequestHandler):
    received: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        self.received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Log nothing."""


@pytest.fixture
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    received: list[tuple[str, bytes]] = []
    server = HTTPServer(("127.0.0.1", 0), type("Collector", (_Collector,), {"received": received}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", received
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_span_is_sent_to_the_endpoint_that_the_setting_names(collector):
    url, received = collector
    subprocess.run([sys.executable, "-c", SPAN, url], check=True, timeout=60)  # noqa: S603 - the script above
    [(path, body)] = received
    assert path == "/v1/traces"
    assert b"seen" in body
    assert b"flotilla-probe" in body
