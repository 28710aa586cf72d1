"""Settings: where they come from, and that every fault is reported at once."""

from pathlib import Path

import pytest

from shared.settings import ServiceSettings, SettingsInvalid, load


class NotesSettings(ServiceSettings):
    service = "notes"
    default_port = 8042
    calls = ("users",)


@pytest.fixture(autouse=True)
def in_development(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "development")


def faults(folder: Path) -> str:
    with pytest.raises(SettingsInvalid) as raised:
        load(NotesSettings, folder)
    return str(raised.value)


def test_the_environment_wins_over_the_files_and_the_second_file_over_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("LOG__LEVEL=ERROR\nDATABASE__POOL_SIZE=1\nSERVER__DRAIN_S=1\n")
    (tmp_path / ".env.development").write_text(
        'DATABASE__POOL_SIZE=2\nSERVER__DRAIN_S=2\nREVOCATIONS__FEEDS=["auth"]\nSERVICES__AUTH=http://auth\n'
    )
    monkeypatch.setenv("SERVER__DRAIN_S", "3")
    settings = load(NotesSettings, tmp_path)
    assert (settings.log.level, settings.database.pool_size, settings.server.drain_s) == ("ERROR", 2, 3)
    assert settings.revocations.feeds == ("auth",)


@pytest.mark.parametrize("environment", ["development", "testing", "staging", "production"])
def test_special_use_email_domains_are_for_development(
    environment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONMENT", environment)
    settings: ServiceSettings | None
    try:
        settings = load(NotesSettings, tmp_path)
    except SettingsInvalid as invalid:
        settings = invalid.unfit
    assert settings is not None
    assert settings.accepts_special_use_email_domains is (environment in ("development", "testing"))
    assert settings.model_copy(update={"special_use_email_domains": True}).accepts_special_use_email_domains


def test_every_fault_is_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("CORS__ORIGINS=https://example.com\nDATABASE__POL_SIZE=5\n")
    monkeypatch.setenv("REVOCATIONS__FEEDS", "auth,users")  # no JSON
    monkeypatch.setenv("SERVER", "real")  # a section's name, which a shell may have for its own ends
    monkeypatch.setenv("LOG__LEVEL", "LOUD")
    monkeypatch.setenv("SERVICES__AUTH_URL", "http://auth")  # a variable's name of an earlier release
    said = faults(tmp_path)
    names = ("REVOCATIONS__FEEDS", "CORS__ORIGINS", "SERVER", "LOG__LEVEL", "DATABASE__POL_SIZE", "SERVICES__AUTH_URL")
    for name in names:
        assert f"  {name}: " in said


def test_services_are_a_mapping_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text('SERVICES={"auth": "http://auth:1", "chat": "http://chat:3/"}\n')
    monkeypatch.setenv("SERVICES__AUTH", "http://auth:8001")
    monkeypatch.setenv("SERVICES__BILLING", "http://billing:9000")
    assert load(NotesSettings, tmp_path).services == {
        "auth": "http://auth:8001",
        "chat": "http://chat:3",
        "billing": "http://billing:9000",
    }


def test_a_feed_without_a_url_is_reported_with_the_other_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICES__AUTH", "http://auth:8001")
    monkeypatch.setenv("REVOCATIONS__FEEDS", '["auth", "users", "uesrs"]')
    monkeypatch.setenv("LOG__LEVEL", "LOUD")
    said = faults(tmp_path)
    assert "LOG__LEVEL" in said
    assert "names auth" not in said
    for name in ("users", "uesrs"):
        assert f"REVOCATIONS__FEEDS names {name}, and SERVICES__{name.upper()} is not set" in said


def test_without_a_word_it_is_production_and_refuses_what_is_for_development(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ENVIRONMENT")
    monkeypatch.setenv("PUBLIC_URL", "http://flotilla.example")
    monkeypatch.setenv("DATABASE_URL", "postgresql://app:changeme@db")
    monkeypatch.setenv("BUS_URL", "redis://bus")
    monkeypatch.setenv("IDENTITY__ACCEPT_ACCESS_TOKENS", "true")
    said = faults(tmp_path)
    for name in ("PUBLIC_URL", "DATABASE_URL", "BUS_URL", "IDENTITY__ACCEPT_ACCESS_TOKENS", "SERVICES__USERS"):
        assert name in said


def test_a_service_has_its_own_port_whatever_else_of_its_server_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVER__HOST", "0.0.0.0")  # noqa: S104 - as the images do
    assert load(NotesSettings, tmp_path).port == 8042
    monkeypatch.setenv("SERVER__PORT", "9000")
    assert load(NotesSettings, tmp_path).port == 9000
