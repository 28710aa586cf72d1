"""The base image and the container engine: found, and their failures reported."""

import os
import sys

import psutil
import pytest

from shared.dev.fleet import repository
from shared.dev.images.base_image import base_of
from shared.dev.images.engine import Engine, EngineFailed, EngineMissing, find_engine

ROOT = repository()


def test_the_base_is_read_from_the_dockerfile():
    assert base_of(ROOT / "auth-service" / "Dockerfile") == "python:3.11-slim-bookworm"


def test_a_dockerfile_without_its_base_is_refused(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    with pytest.raises(EngineFailed, match="does not name its base"):
        base_of(tmp_path / "Dockerfile")


async def test_without_an_engine_the_command_that_brings_one_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineMissing, match="apt-get install"):
        await find_engine(tmp_path)


async def test_what_a_failing_command_said_is_told():
    engine = Engine(sys.executable, dict(os.environ))
    with pytest.raises(EngineFailed, match="no such image"):
        await engine.do("-c", "import sys; sys.exit('no such image')")


async def test_a_command_that_takes_too_long_is_ended(tmp_path):
    file = tmp_path / "pid"
    with pytest.raises(EngineFailed, match="more than 3 s"):
        await Engine("sh", dict(os.environ)).do("-c", f"echo $$ > '{file}'; exec sleep 60", timeout_s=3)
    assert not psutil.pid_exists(int(file.read_text(encoding="utf-8")))
