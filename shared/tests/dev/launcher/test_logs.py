"""Log lines: shown readably, and put together as one request's story."""

import io
import json
from pathlib import Path

import pytest

from shared.dev.launcher.logs import LogFile, Screen, story


def shown(line: str, *, colour: bool = False) -> str:
    out = io.StringIO()
    Screen(out, colour=colour).show("chat", line)
    return out.getvalue()


REQUEST = {
    "method": "GET", "route": "/rooms", "status": 200, "duration_ms": 3.2, "code": None, "event": "request",
    "request_id": "r1", "level": "info", "service": "chat", "timestamp": "2026-01-01T12:00:00.123456Z",
}  # fmt: skip


def test_a_request_reads_as_a_sentence() -> None:
    assert shown(json.dumps(REQUEST)) == "chat      12:00:00.123 request GET /rooms 200 3.2 ms request_id=r1\n"


def test_colours_are_for_terminals() -> None:
    assert "\x1b[" not in shown(json.dumps(REQUEST))
    assert "\x1b[" in shown(json.dumps(REQUEST), colour=True)


def test_who_asks_for_no_colours_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert Screen(Terminal()).colour
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Screen(Terminal()).colour


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_stops_nobody_who_writes_a_line(tmp_path: Path) -> None:
    (tmp_path / "chat.log").symlink_to("/dev/full")
    log = LogFile(tmp_path, "chat")
    log.write("there is no room for this")
    log.write("nor for this")
    log.close()


def test_what_is_no_json_is_shown_as_it_is() -> None:
    assert shown("Traceback (most recent call last):") == "chat      Traceback (most recent call last):\n"
    assert shown("{not json") == "chat      {not json\n"


def test_a_failure_shows_where_it_happened() -> None:
    frames = [{"filename": "rooms.py", "lineno": 7, "name": "join"}]
    line = {**REQUEST, "level": "error", "exception": [{"exc_type": "KeyError", "exc_value": "'x'", "frames": frames}]}
    assert shown(json.dumps(line)).endswith("\n    KeyError: 'x'\n      rooms.py:7 in join\n")


def test_a_quiet_screen_still_shows_trouble() -> None:
    out = io.StringIO()
    screen = Screen(out)
    screen.quiet = True
    screen.show("chat", json.dumps(REQUEST))
    screen.show("chat", json.dumps({**REQUEST, "level": "error"}))
    assert len(out.getvalue().splitlines()) == 1


def test_a_story_follows_the_trace_in_order_of_time(tmp_path: Path) -> None:
    lines = {
        "gateway": {"timestamp": "2026-01-01T12:00:03Z", "event": "request", "request_id": "r1", "trace_id": "t1"},
        "tasks": {"timestamp": "2026-01-01T12:00:02Z", "event": "request", "request_id": "r1", "trace_id": "t1"},
        "worker": {"timestamp": "2026-01-01T12:00:04Z", "event": "job_completed", "trace_id": "t1"},
        "chat": {"timestamp": "2026-01-01T12:00:01Z", "event": "request", "request_id": "r2", "trace_id": "t2"},
    }
    for process, line in lines.items():
        log = LogFile(tmp_path, process)
        log.write(json.dumps(line))
        log.write("no JSON")
        log.close()
    assert [process for process, _ in story(tmp_path, "r1")] == ["tasks", "gateway", "worker"]
