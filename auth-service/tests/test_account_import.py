"""Importing accounts with the hashes of other systems, and what their first sign-in does."""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from argon2 import PasswordHasher

from auth_service.account_import.commands import Done, imported
from auth_service.settings import AuthSettings

from .door import PASSWORD, Door, claims_of, problem

SALT = b"sixteen bytes !!"


def _unpadded(raw: bytes, plus: str = "+") -> str:
    return base64.b64encode(raw).decode().rstrip("=").replace("+", plus)


def _pbkdf2(name: str, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac(name, PASSWORD.encode(), SALT, iterations)


def _scrypt(n: int) -> bytes:
    return hashlib.scrypt(PASSWORD.encode(), salt=SALT, n=n, r=8, p=1, dklen=64)


def _keycloak() -> dict[str, str]:
    secret = {"value": base64.b64encode(_pbkdf2("sha256", 1000)).decode(), "salt": base64.b64encode(SALT).decode()}
    terms = {"hashIterations": 1000, "algorithm": "pbkdf2-sha256", "additionalParameters": {}}
    return {"type": "password", "secretData": json.dumps(secret), "credentialData": json.dumps(terms)}


HASHES: dict[str, dict[str, Any]] = {
    "bcrypt": {"password_hash": bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()},
    "bcrypt2y": {"password_hash": bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode().replace("$2b", "$2y")},
    "pbkdf2": {
        "password_hash": f"$pbkdf2-sha512$1000${_unpadded(SALT, '.')}${_unpadded(_pbkdf2('sha512', 1000), '.')}"
    },
    "django": {
        "password_hash": f"pbkdf2_sha256$1000${SALT.decode()}${base64.b64encode(_pbkdf2('sha256', 1000)).decode()}"
    },
    "keycloak": {"keycloak": _keycloak()},
    "scrypt": {"password_hash": f"$scrypt$ln=10,r=8,p=1${_unpadded(SALT)}${_unpadded(_scrypt(1024))}"},
    "djangoscrypt": {"password_hash": f"scrypt$1024${SALT.decode()}$8$1${base64.b64encode(_scrypt(1024)).decode()}"},
    "djangobcrypt": {"password_hash": "bcrypt$" + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()},
    "djangobcryptsha": {
        "password_hash": "bcrypt_sha256$"
        + bcrypt.hashpw(hashlib.sha256(PASSWORD.encode()).hexdigest().encode(), bcrypt.gensalt(4)).decode()
    },
    "djangoargon2": {
        "password_hash": "argon2" + PasswordHasher(time_cost=2, memory_cost=64, parallelism=1).hash(PASSWORD)
    },
    "argon2": {"password_hash": PasswordHasher(time_cost=2, memory_cost=64, parallelism=1).hash(PASSWORD)},
}


def line(name: str, **changes: Any) -> str:
    return json.dumps({"username": name, "email": f"{name}@example.com", "email_verified": True, **changes})


def write(file: Path, *lines: str) -> None:
    file.write_text("\n".join(lines) + "\n")


@dataclass
class Run:
    """An import, and what it said about the lines that it refused."""

    done: Done
    failures: list[str]
    reached: list[int]

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.done.imported, self.done.there, self.done.failed

    @property
    def lines(self) -> list[int]:
        """The numbers of the lines that were refused."""
        return [int(failure.partition(":")[0].removeprefix("line ")) for failure in self.failures]


@dataclass
class _Progress:
    failures: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    def failed(self, failure: str) -> None:
        self.failures.append(failure)

    def reached(self, number: int) -> None:
        self.numbers.append(number)


async def run(file: Path, settings: AuthSettings, *, dry_run: bool = False) -> Run:
    progress = _Progress()
    done = await imported(file, settings, progress, dry_run=dry_run)
    return Run(done, progress.failures, progress.numbers)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "accounts.jsonl"


async def test_accounts_of_every_kind_of_hash_sign_in_and_are_rehashed(
    door: Door, settings: AuthSettings, file: Path
) -> None:
    write(file, *(line(name, **hashed) for name, hashed in HASHES.items()))
    done = await run(file, settings)
    assert (done.counts, done.failures) == ((len(HASHES), 0, 0), [])
    for name in HASHES:
        before = (await door.rows("SELECT password_hash FROM accounts WHERE username = :name", name=name))[0]
        assert problem(await door.login(name, "Wrong-word-1")) == (401, "sign_in_refused")
        assert (await door.login(name)).status_code == 200, name
        after = (await door.rows("SELECT password_hash FROM accounts WHERE username = :name", name=name))[0]
        assert after["password_hash"].startswith("$argon2id$"), name
        assert after != before
        assert (await door.login(name)).status_code == 200
    again = await run(file, settings)
    assert again.counts == (0, len(HASHES), 0)


async def test_what_cannot_be_imported_is_listed_and_the_rest_is_imported(
    door: Door, settings: AuthSettings, file: Path
) -> None:
    await door.signed_up("ann", slug="acme")
    good = HASHES["bcrypt"]
    costly = "$pbkdf2-sha256$90000000$" + _unpadded(SALT) + "$" + _unpadded(b"x" * 32)
    lines = [
        line("bea", **good),
        "not json",
        line("cy", password_hash="md5$x$y"),
        line("dee", password_hash=costly),
        line("ed", password_hash="$2b$31$" + "." * 53),
        line("fay"),
        line("flo", password_hash="$argon2id$v=19$m=99999999,t=2,p=1$c2FsdHNhbHQ$" + "A" * 43),
        line("x", **good),
        line("ann", **{**good, "email": "other@example.com"}),
        line("gil", **{**good, "email": "bea@example.com"}),
        line("hal", **good, is_admin=True),
        line("ivy", **good),
    ]
    write(file, *lines)
    before = await stored(door)
    dry = await run(file, settings, dry_run=True)
    assert await stored(door) == before
    done = await run(file, settings)
    assert done.lines == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert (dry.failures, dry.counts) == (done.failures, done.counts)
    assert done.counts == (2, 0, 10)
    assert (await door.login("ivy")).status_code == 200


async def stored(door: Door) -> list[dict[str, Any]]:
    """How many accounts, events and mails there are."""
    counts = "(SELECT count(*) FROM accounts), (SELECT count(*) FROM security_events), (SELECT count(*) FROM mails)"
    return await door.rows(f"SELECT {counts}")


async def test_a_dry_run_reports_what_the_import_would(door: Door, settings: AuthSettings, file: Path) -> None:
    ann = await door.signed_up("ann", slug="acme")
    tenant = claims_of(ann)["tenant"]
    good = HASHES["argon2"]
    lines = [
        line("ann", **good),  # there already
        line("bea", **good),
        line("BEA", **{**good, "email": "bea@example.com"}),  # by then
        line("Bea", **{**good, "email": "else@example.com"}),
        line("cyd", **{**good, "email": "Bea@Example.com"}),
        line("cyd", **{**good, "email": "cyd@example.com"}),  # the line before was refused, so the name is free
        line("dan", **good, tenant_id=tenant),
        line("eve", **good, tenant_id="0192f0c1-2b3c-7d4e-8f50-617283940a1b"),
        line("fay", **{**good, "email": "ann@example.com"}),
        "x" * 200_000,
        "",
        *(line(f"extra{number}", **good) for number in range(20)),
    ]
    write(file, *lines)
    dry = await run(file, settings, dry_run=True)
    done = await run(file, settings)
    assert (dry.failures, dry.counts) == (done.failures, done.counts)
    assert (done.lines, done.counts) == ([4, 5, 8, 9, 10], (23, 2, 5))
    assert done.failures[2] == "line 8: #/tenant_id: Must be the id of a tenant."
    assert done.reached[-1] == len(lines)
    assert (await run(file, settings, dry_run=True)).counts == (0, 25, 5)


async def test_addresses_that_are_not_verified_belong_to_nobody_yet(
    door: Door, settings: AuthSettings, file: Path
) -> None:
    verifying = settings.model_copy(
        update={"registration": settings.registration.model_copy(update={"verify_email": True})}
    )
    shared = {**HASHES["argon2"], "email": "shared@example.com"}
    write(
        file,
        line("ann", **shared, email_verified=False),
        line("bea", **shared, email_verified=False),
        line("cyd", **shared),
        line("dan", **shared),
    )
    dry = await run(file, verifying, dry_run=True)
    done = await run(file, verifying)
    assert (dry.failures, dry.counts) == (done.failures, done.counts)
    assert (done.lines, done.counts) == ([4], (3, 0, 1))


async def test_an_import_that_broke_off_is_finished(door: Door, settings: AuthSettings, file: Path) -> None:
    write(file, line("bea", **HASHES["bcrypt"]))
    await run(file, settings)
    await door.run("UPDATE accounts SET status = 'pending' WHERE username = 'bea'")
    assert (await run(file, settings, dry_run=True)).counts == (1, 0, 0)
    assert (await run(file, settings)).counts == (1, 0, 0)
    assert (await door.login("bea")).status_code == 200
    await door.run("UPDATE accounts SET status = 'pending', password_hash = 'other' WHERE username = 'bea'")
    assert (await run(file, settings, dry_run=True)).counts == (0, 0, 1)
    assert (await run(file, settings)).counts == (0, 0, 1)
