"""The command line that services share: what an operator has to mend is said in a sentence."""

import pytest
from sqlalchemy.engine import make_url

from shared import cli
from shared.app import Service
from shared.dev.servers.server import free_port
from shared.settings import ServiceSettings


class NotesSettings(ServiceSettings):
    service = "notes"


NOTES = Service(name="notes", package="notes", settings=NotesSettings, description="Notes.")


def said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *verbs: str, code: int = 2, **environment: str
) -> str:
    """What `python -m notes <verbs>` says as it gives up."""
    for name, value in {"ENVIRONMENT": "testing", "DATABASE_URL": "postgresql://notes:x@db", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["notes", *verbs])
    with pytest.raises(SystemExit) as ended:
        cli.run(NOTES)
    assert ended.value.code == code
    return capsys.readouterr().err


def test_without_an_administrator_no_database_is_made(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "DATABASE_OWNER_URL is not set" in said(capsys, monkeypatch, "db", "create", DATABASE_OWNER_URL="")


def test_a_server_that_is_not_there_is_named_without_its_password(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"postgresql://admin:secret@127.0.0.1:{free_port()}"
    told = said(capsys, monkeypatch, "db", "create", DATABASE_OWNER_URL=url)
    assert "DATABASE_OWNER_URL is postgresql://admin:***@127.0.0.1" in told
    assert "Connect call failed" in told


def test_a_login_that_the_server_does_not_know_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, postgres_admin_url: str
) -> None:
    url = make_url(postgres_admin_url).set(password="wrong").render_as_string(hide_password=False)
    told = said(capsys, monkeypatch, "db", "create", DATABASE_OWNER_URL=url)
    assert "password authentication failed" in told
    assert "wrong" not in told


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
def test_a_bus_that_is_away_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    url = f"{scheme}://127.0.0.1:{free_port()}"
    told = said(capsys, monkeypatch, "events", "declare", code=1, BUS_URL=url)
    assert told.startswith("BUS_URL: the bus is unreachable: ")


def test_a_database_that_is_away_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"postgresql://notes:secret@127.0.0.1:{free_port()}"
    told = said(capsys, monkeypatch, "events", "list", code=1, DATABASE_URL=url)
    assert told.startswith("DATABASE_URL: the server is unreachable: ")
    assert "secret" not in told
