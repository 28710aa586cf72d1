"""The signing keys: made once by however many, published ahead of use, rotated without a refused token."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest
from sqlalchemy import event, text

from auth_service.keyring import CannotDecrypt, Keyring, generate_root
from auth_service.settings import AuthSettings, KeyringInvalid, KeySettings
from auth_service.signing_keys import service
from auth_service.signing_keys.active_key import ActiveKey
from auth_service.signing_keys.models import StoredKey
from auth_service.signing_keys.service import NextKeyTooYoung
from shared.data.database import Database
from shared.identity.access_tokens import AccessTokenVerifier
from shared.identity.jwks import Jwks
from shared.identity.keys import thumbprint, verifying_key
from shared.identity.tokens import sign
from shared.resources import MissingSetting, Resources
from shared.settings import SettingsInvalid, load
from shared.testing import eventually

from .door import Door, principal_of

pytestmark = pytest.mark.own_process


def _keyring(*roots: str) -> Keyring:
    return Keyring.load(KeySettings.model_validate({"encryption_key": ",".join(roots)}))


PAIRS = [("ES256", "active"), ("ES256", "next"), ("RS256", "active"), ("RS256", "next")]


def _statuses(keys: list[StoredKey]) -> list[tuple[str, str]]:
    return sorted((key.algorithm, key.status) for key in keys)


async def _jwks(door: Door) -> dict[str, Any]:
    reply = await door.client.get("/oauth2/jwks.json")
    assert reply.status_code == 200
    document: dict[str, Any] = reply.json()
    return document


async def _verifier(door: Door) -> AccessTokenVerifier:
    """Verifies as the gateway does."""
    keys = Jwks(lambda: _jwks(door))
    assert await keys.refresh()
    return AccessTokenVerifier(keys, public_url="http://localhost:8000")


async def test_many_replicas_at_their_first_start_make_one_pair(database: Database, encryption_key: str) -> None:
    async with database.transaction() as db:
        await db.execute(text("DELETE FROM signing_keys"))
    replicas = [ActiveKey(database, _keyring(encryption_key)) for _ in range(8)]
    await asyncio.gather(*(replica.reload() for replica in replicas))
    assert len({(replica.key.kid, replica.id_token_key.kid) for replica in replicas}) == 1
    async with database.transaction() as db:
        assert _statuses(await service.listed(db)) == PAIRS


async def test_a_replica_follows_a_rotation_and_reads_the_key_only_then(
    database: Database, encryption_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auth_service.signing_keys.active_key.RELOAD_EVERY_S", 0.02)
    asked, read = 0, 0

    @event.listens_for(database.engine().sync_engine, "before_cursor_execute")
    def count(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        nonlocal asked, read
        asked += "EXISTS" in statement
        read += statement.startswith("SELECT") and "private_sealed" in statement

    replica = ActiveKey(database, _keyring(encryption_key))
    following = asyncio.create_task(replica.reloading.run())
    await eventually(lambda: asked > 3)
    assert read == 1
    async with database.transaction() as db:
        rotated = await service.rotate(db, _keyring(encryption_key), force=True)
    await eventually(lambda: replica.key.kid == rotated)
    following.cancel()
    await asyncio.wait([following])


async def test_the_key_set_is_public_and_holds_no_private_part(door: Door) -> None:
    document = await _jwks(door)
    assert sorted(key["alg"] for key in document["keys"]) == ["ES256", "ES256", "RS256", "RS256"]
    members = {"ES256": {"crv", "x", "y"}, "RS256": {"n", "e"}}
    for key in document["keys"]:
        assert key.keys() == {"kty", "kid", "use", "alg"} | members[key["alg"]]
        assert key["kid"] == thumbprint(key)
        assert verifying_key(key).algorithm == key["alg"]
    private = await door.rows("SELECT private_sealed FROM signing_keys")
    assert all(b"PRIVATE KEY" not in row["private_sealed"] for row in private)


async def test_the_key_set_is_cached_and_confirmed_by_its_tag(
    door: Door, database: Database, encryption_key: str
) -> None:
    first = await door.client.get("/oauth2/jwks.json")
    assert first.headers["cache-control"] == "public, max-age=60"
    known = {"If-None-Match": first.headers["etag"]}
    same = await door.client.get("/oauth2/jwks.json", headers=known)
    assert (same.status_code, same.headers["cache-control"]) == (304, "public, max-age=60")
    async with database.transaction() as db:
        await service.rotate(db, _keyring(encryption_key), "RS256", force=True)
    changed = await door.client.get("/oauth2/jwks.json", headers=known)
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]


async def test_each_algorithm_rotates_alone_and_signs_with_its_own_key(
    resources: Resources, database: Database, encryption_key: str
) -> None:
    keys = resources.get(ActiveKey)
    access, before = keys.key, keys.id_token_key
    assert (access.algorithm, before.algorithm) == ("ES256", "RS256")
    async with database.transaction() as db:
        rotated = await service.rotate(db, _keyring(encryption_key), "RS256", force=True)
    await keys.reload()
    assert (keys.key, keys.id_token_key.kid) == (access, rotated)
    assert rotated != before.kid
    token = sign({"sub": "ann"}, keys.id_token_key, typ="JWT")
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "kid": rotated, "typ": "JWT"}
    assert jwt.decode(token, verifying_key(keys.id_token_key.public_jwk).key, ["RS256"]) == {"sub": "ann"}


async def test_a_rotation_refuses_no_token(
    door: Door, resources: Resources, database: Database, encryption_key: str
) -> None:
    before = await door.signed_up("ann", slug="acme")
    verifier = await _verifier(door)  # asked before the rotation: it knows the next key already
    await door.run("UPDATE signing_keys SET created_at = now()")  # the keys of the tests' template may be old
    async with database.transaction() as db:
        with pytest.raises(NextKeyTooYoung):
            await service.rotate(db, _keyring(encryption_key))
    await door.run("UPDATE signing_keys SET created_at = created_at - interval '3 minutes'")
    async with database.transaction() as db:
        active = await service.rotate(db, _keyring(encryption_key))
    await resources.get(ActiveKey).reload()
    after = (await door.login("ann")).json()
    assert jwt.get_unverified_header(after["access_token"])["kid"] == active
    assert jwt.get_unverified_header(before["access_token"])["kid"] != active
    for tokens in (before, after):
        assert await verifier.verify(tokens["access_token"]) == principal_of(tokens)
    assert len((await _jwks(door))["keys"]) == 5

    await door.run("UPDATE signing_keys SET retired_at = retired_at - interval '21 minutes'")
    assert len((await _jwks(door))["keys"]) == 4
    async with database.transaction() as db:
        await service.prune(db)
        assert _statuses(await service.listed(db)) == PAIRS


async def test_keys_that_are_due_are_rotated_by_one_replica(
    door: Door, database: Database, encryption_key: str
) -> None:
    replicas = [ActiveKey(database, _keyring(encryption_key), rotate_every_d=90) for _ in range(6)]

    async def all_reload() -> set[tuple[str, str]]:
        await asyncio.gather(*(replica.reload() for replica in replicas))
        return {(replica.key.kid, replica.id_token_key.kid) for replica in replicas}

    async def pass_days(days: int, *, algorithm: str) -> None:
        await door.run(
            "UPDATE signing_keys SET activated_at = activated_at - make_interval(days => :days),"
            " created_at = created_at - make_interval(days => :days)"
            " WHERE algorithm = :algorithm AND status <> 'retired'",
            days=days,
            algorithm=algorithm,
        )

    (before,) = await all_reload()
    await pass_days(89, algorithm="ES256")
    assert await all_reload() == {before}
    await pass_days(1, algorithm="ES256")
    ((es256, rs256),) = await all_reload()
    assert es256 != before[0]
    assert rs256 == before[1]
    assert len(await door.rows("SELECT 1 FROM security_events WHERE kind = 'signing_key_rotated'")) == 1

    await pass_days(400, algorithm="RS256")
    await door.run("UPDATE signing_keys SET created_at = now() WHERE status = 'next'")
    assert await all_reload() == {(es256, rs256)}  # verifiers may not know the next key yet
    await door.run("UPDATE signing_keys SET created_at = now() - interval '2 minutes' WHERE status = 'next'")
    ((es256_again, rotated),) = await all_reload()
    assert es256_again == es256
    assert rotated != rs256


async def test_without_a_schedule_keys_wait_for_the_command(
    door: Door, database: Database, encryption_key: str
) -> None:
    # 80 days: due for no schedule of the service under test
    await door.run("UPDATE signing_keys SET activated_at = now() - interval '80 days' WHERE status = 'active'")
    await door.run("UPDATE signing_keys SET created_at = now() - interval '80 days'")
    replica = ActiveKey(database, _keyring(encryption_key), rotate_every_d=0)
    await replica.reload()
    active = await door.rows("SELECT kid FROM signing_keys WHERE status = 'active'")
    assert {row["kid"] for row in active} == {replica.key.kid, replica.id_token_key.kid}
    assert await door.rows("SELECT 1 FROM signing_keys WHERE status = 'retired'") == []


async def test_the_token_says_its_type_and_algorithm(door: Door) -> None:
    header = jwt.get_unverified_header((await door.signed_up("ann", slug="acme"))["access_token"])
    assert (header["typ"], header["alg"]) == ("at+jwt", "ES256")


def test_what_is_sealed_opens_only_with_its_key_and_context() -> None:
    old, new = generate_root(), generate_root()
    sealed = _keyring(old).encrypt(b"secret", context="kid")
    assert _keyring(new, old).decrypt(sealed, context="kid") == b"secret"
    for keyring, stored, context in (
        (_keyring(new), sealed, "kid"),
        (_keyring(old), sealed, "other"),
        (_keyring(old), sealed[:-1] + bytes([sealed[-1] ^ 1]), "kid"),
        (_keyring(old), b"", "kid"),
    ):
        with pytest.raises(CannotDecrypt):
            keyring.decrypt(stored, context=context)


@pytest.mark.parametrize("broken", ["c2hvcnQ", "not base64url!", " "])
def test_a_broken_encryption_key_is_told_at_the_start_and_never_shown(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "testing")
    monkeypatch.setenv("KEYS__ENCRYPTION_KEY", broken)
    with pytest.raises(SettingsInvalid) as told:
        load(AuthSettings)
    assert "the encryption key" in str(told.value)
    file = tmp_path / "keys"
    file.write_text(broken)
    with pytest.raises(KeyringInvalid) as fault:
        Keyring.load(KeySettings(encryption_key_file=file))
    for said in (str(told.value), str(fault.value)):
        assert broken.strip() == "" or broken not in said


def test_without_an_encryption_key_there_is_no_keyring() -> None:
    with pytest.raises(MissingSetting):
        Keyring.load(KeySettings())


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), (b"\xff", "is not base64url"), (b"", "is empty")]
)
def test_a_key_file_that_cannot_be_used_is_told_at_the_start(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "encryption"
    if content is not None:
        file.write_bytes(content)
    ended = subprocess.run(
        [sys.executable, "-m", "auth_service", "serve"],
        env={**os.environ, "ENVIRONMENT": "testing", "KEYS__ENCRYPTION_KEY_FILE": str(file)},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert f"KEYS__ENCRYPTION_KEY_FILE is {file}: " in ended.stderr
    assert said in ended.stderr
